import { join } from 'node:path'
import type { Api } from '../cluster-node/api.ts'
import { ROOT } from '../cluster-node/tool.ts'
import { run, type Said } from './helm.ts'

// Where nobody runs Jobs and pods: the operator's own program as the pod would run it, with the rights of its service account.

/** `arguments` as the manifest has them; `account` is namespace:name. */
export async function runAs(api: Api, account: string, args: readonly string[]): Promise<Said> {
  const [namespace = ''] = account.split(':')
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated']
  const { kubeconfig } = await api.user(`system:serviceaccount:${account}`, groups)
  const told = args.map((one) => one.replace('$(POD_NAMESPACE)', namespace))
  return run(process.execPath, [join(ROOT, 'operator/main.ts'), ...told, '--kubeconfig', kubeconfig])
}

/** Says that a Job is complete, as its controller would. */
export async function complete(api: Api, namespace: string, name: string): Promise<void> {
  const at = new Date().toISOString()
  const conditions = ['SuccessCriteriaMet', 'Complete'].map((type) => ({
    type,
    status: 'True',
    lastTransitionTime: at,
    lastProbeTime: at,
    reason: 'CompletionsReached',
    message: '',
  }))
  const status = { startTime: at, completionTime: at, succeeded: 1, conditions, uncountedTerminatedPods: {} }
  const patch = ['--subresource=status', '--type=merge', '-p', JSON.stringify({ status })]
  await api.kubectl(['patch', 'job', name, '-n', namespace, ...patch])
}
