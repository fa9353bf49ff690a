import { type ServerUnaryCall, type ServerWritableStream, type sendUnaryData, status } from '@grpc/grpc-js'
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Serving,
} from '../../contracts/gen/standard/grpc/health/v1/health.ts'
import type { Sleep } from '../ports.ts'

const SERVICES = new Set(['', 'portcullis.authorizer.v1.Authorizer'])
const WATCH_MS = 500

/** grpc.health.v1: SERVING exactly when a check could be allowed. */
export function createHealth(ready: () => boolean, sleep: Sleep, draining: AbortSignal) {
  const state = (): HealthCheckResponse => ({
    status: ready() && !draining.aborted ? Serving.SERVING : Serving.NOT_SERVING,
  })
  return {
    check(
      call: ServerUnaryCall<HealthCheckRequest, HealthCheckResponse>,
      reply: sendUnaryData<HealthCheckResponse>,
    ): void {
      if (SERVICES.has(call.request.service)) reply(null, state())
      else reply({ code: status.NOT_FOUND, details: 'no such service' })
    },
    watch(call: ServerWritableStream<HealthCheckRequest, HealthCheckResponse>): void {
      const known = SERVICES.has(call.request.service)
      const told = known ? state : () => ({ status: Serving.SERVICE_UNKNOWN })
      const end = () => call.end()
      tellChanges(call, told, sleep, draining).then(end, end)
    },
  }
}

async function tellChanges(
  call: ServerWritableStream<HealthCheckRequest, HealthCheckResponse>,
  state: () => HealthCheckResponse,
  sleep: Sleep,
  draining: AbortSignal,
): Promise<void> {
  let told: number | undefined
  for (;;) {
    const now = state()
    if (now.status !== told) call.write(now)
    told = now.status
    if (call.cancelled || draining.aborted) return
    // The end of the wait is looked at above: whoever watches a draining server is told so before the stream ends.
    await sleep(WATCH_MS, draining).catch(() => undefined)
  }
}
