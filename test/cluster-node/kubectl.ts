import { spawn } from 'node:child_process'

export interface KubectlOptions {
  readonly stdin?: string
  readonly env?: Readonly<Record<string, string>>
  /** Milliseconds, 60,000 by default. */
  readonly timeoutMs?: number
}

/** Standard output; a failure is an Error with standard error as its message. */
export type Kubectl = (args: readonly string[], options?: KubectlOptions) => Promise<string>

/** The cache stays beside the kubeconfig: kubectl would otherwise fill the home directory. */
export function createKubectl(program: string, kubeconfig: string, cache: string): Kubectl {
  return async (args, { stdin, env = {}, timeoutMs = 60_000 } = {}) => {
    const child = spawn(program, args, {
      env: { ...process.env, ...env, KUBECONFIG: kubeconfig, KUBECACHEDIR: cache },
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    })
    const [out, err]: [Buffer[], Buffer[]] = [[], []]
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
    // A program that ends before it has read everything is judged by its exit code.
    child.stdin.on('error', () => undefined)
    child.stdin.end(stdin ?? '')
    const code = await new Promise<number | string>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (exit, signal) => resolve(exit ?? signal ?? 'unknown'))
    })
    const said = Buffer.concat(err).toString('utf8').trim()
    if (code === 0) return Buffer.concat(out).toString('utf8')
    const shown = args.slice(0, 6).join(' ')
    throw new Error(`kubectl ${shown} ended with ${code}: ${said || Buffer.concat(out).toString('utf8')}`)
  }
}
