import { parseArgs } from 'node:util'
import { openCluster } from './cluster.ts'
import { layoutOf } from './layout.ts'
import { Taken } from './start.ts'
import { clusterUnavailable } from './unavailable.ts'

// node test/cluster-node/up.ts [--name N] [--slot S] [--detach] [--storage memory|disk] [IMAGE.tar ...]
// Prints the kubeconfig's path when the node is Ready, or when it is already running. Without --detach it stays, and the cluster ends with it.
// Exit code 3: this machine cannot run a cluster.

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    name: { type: 'string', default: 'dev' },
    slot: { type: 'string' },
    detach: { type: 'boolean', default: false },
    storage: { type: 'string', default: 'memory' },
  },
})

const reason = clusterUnavailable()
if (reason) {
  console.error(`cluster: cannot run here: ${reason}`)
  process.exit(3)
}

const began = performance.now()
try {
  const cluster = await openCluster({
    name: values.name,
    ...(values.slot === undefined ? {} : { slot: Number(values.slot) }),
    images: positionals,
    storage: values.storage === 'disk' ? 'disk' : 'memory',
    detached: values.detach,
  })
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  console.error(
    `cluster: ${cluster.name} is ready after ${seconds} s (slot ${cluster.slot}); logs in ${cluster.logs}`,
  )
  console.log(cluster.kubeconfig)
  if (!values.detach) {
    await new Promise((resolve) => {
      process.once('SIGINT', resolve)
      process.once('SIGTERM', resolve)
    })
    await cluster[Symbol.asyncDispose]()
  }
  process.exit(0)
} catch (cause) {
  // Asked for twice: there it is.
  if (values.detach && cause instanceof Taken && cause.what === 'name') {
    console.error(`cluster: ${values.name} is already running`)
    console.log(layoutOf(values.name, 0).kubeconfig)
    process.exit(0)
  }
  console.error(`cluster: ${cause instanceof Error ? cause.message : String(cause)}`)
  if (cause instanceof Error && cause.cause instanceof Error) console.error(`cluster: ${cause.cause.message}`)
  process.exit(1)
}
