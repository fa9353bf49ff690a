import { Fault } from '../ports.ts'

/** What OPA says when it aborts: a place in the policy and the kind of conflict. Anything else may hold a value of the input. */
const PLACE = /^[\w./-]+\.rego:\d+:\d+: [a-z -]{1,80}$/
const ABORT_BYTES = 256

/** Everything a policy module can reach. No builtin at all: what OPA does not compile into the module does not exist for it. */
export function hostImports(memory: WebAssembly.Memory): WebAssembly.ModuleImports {
  const refuse = () => {
    throw new Fault('policy_fault', 'the policy called a host builtin')
  }
  const abort = (address: number) => {
    const view = Buffer.from(memory.buffer)
    const end = view.indexOf(0, address)
    const text = view.toString(
      'latin1',
      address,
      Math.min(end < 0 ? view.length : end, address + ABORT_BYTES),
    )
    throw new Fault(
      'policy_fault',
      `the policy aborted: ${PLACE.test(text) ? text : 'it does not say where'}`,
    )
  }
  return {
    memory,
    opa_abort: abort,
    // A policy author cannot write into our log.
    opa_println: () => undefined,
    opa_builtin0: refuse,
    opa_builtin1: refuse,
    opa_builtin2: refuse,
    opa_builtin3: refuse,
    opa_builtin4: refuse,
  }
}

/** Throws Fault when the module wants anything that the host does not offer. */
export function refuseForeignImports(module: WebAssembly.Module, env: WebAssembly.ModuleImports): void {
  const foreign = WebAssembly.Module.imports(module).find(
    ({ module: from, name }) => from !== 'env' || !Object.hasOwn(env, name),
  )
  if (foreign) {
    throw new Fault(
      'policy_fault',
      `policy.wasm imports ${foreign.module}.${foreign.name}, which is not OPA's ABI`,
    )
  }
}
