import { ROBOT_SECRET } from '../fixtures/idp-provider.ts'
import type { Stage } from './stage.ts'

// KEEP=1: what the story broke is brought back, and the audience asks for itself until Ctrl-C.

export async function leaveRunning(stage: Stage, write: (text: string) => void): Promise<void> {
  await stage.idp.revive()
  stage.policy.use('first')
  await stage.restartSidecar()
  const { accessToken } = await stage.idp.userTokens('alice')
  write(instructions(stage, accessToken))
  await new Promise<void>((resolve) => {
    // Nothing else may be left that keeps the process alive.
    const alive = setInterval(() => undefined, 60_000)
    const end = () => {
      clearInterval(alive)
      resolve()
    }
    // From here on these are the way out, and no accident.
    for (const signal of ['SIGINT', 'SIGTERM']) process.removeAllListeners(signal).once(signal, end)
  })
}

function instructions({ idp, app, sidecar, policy }: Stage, token: string): string {
  return `
Left running; Ctrl-C ends it. Ask it something by hand:

  ALICE=${token}
  ROBOT=$(curl -s -u acme-robot:${ROBOT_SECRET} -d grant_type=client_credentials -d scope=invoice:read \\
    -d resource=${idp.audience} ${idp.issuer}/token | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')

  curl -i -H "Authorization: Bearer $ALICE" http://127.0.0.1:${app.port}/invoices/a-1
  curl -i -H "Authorization: Bearer $ALICE" -H 'content-type: application/json' -d '{"amount":600}' \\
    http://127.0.0.1:${app.port}/invoices/a-1/refund
  curl -i -H "Authorization: Bearer $ROBOT" http://127.0.0.1:${app.port}/invoices/g-1
  curl -i http://127.0.0.1:${app.port}/invoices/a-1

The edited policy, seen within two seconds (refund limit 50 instead of 500, nothing shared):

  ln -sfn ${policy.folder('edited')} ${policy.path}

Readiness and metrics:

  curl -s http://${sidecar.adminAddress}/readyz
  curl -s http://${sidecar.adminAddress}/metrics

Check requests by gRPC: ${sidecar.tcp}, or the socket ${sidecar.unix}
`
}
