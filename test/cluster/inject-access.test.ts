import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { apiUnavailable } from '../cluster-node/api.ts'
import { notRun } from '../cluster-node/not-run.ts'
import { type Ground, isPolicy, messageOf, openGround, until } from '../operator/inject/ground.ts'
import { written } from '../operator/inject/pods.ts'

// Roads round the pod: a shell in the sidecar, a token from the API server, a label that means nothing. In a real API server.

const INJECT = 'portcullis.dev/inject'

describe.skipIf(notRun('cluster', 'test/cluster/inject-access.test.ts', apiUnavailable()))(
  'admission beside pods',
  () => {
    let ground: Ground

    beforeAll(async () => {
      ground = await openGround((manifest) => isPolicy(manifest) && !/guard/.test(manifest.metadata.name))
      await ground.namespace('shop')
      const slip = written({}, { [INJECT]: 'yes' })
      await until('the policies', async () => (await ground.create('shop', slip)).status === 422)
    })
    afterAll(() => ground?.[Symbol.asyncDispose]())

    test('keeps everyone out of the sidecar who has not the verb relax on pods', async () => {
      await ground.store('shop', written({}, {}), 'entered')
      const enter = (user: string, container: string) =>
        ground.ask(
          'POST',
          `/api/v1/namespaces/shop/pods/entered/exec?container=${container}&command=id&stdout=1`,
          undefined,
          {
            'impersonate-user': user,
            connection: 'Upgrade',
            upgrade: 'websocket',
          },
        )
      await ground.allow('debugger', [
        { apiGroups: [''], resources: ['pods/exec'], verbs: ['create', 'get'] },
      ])
      await until('the role', async () => !/cannot create/.test(messageOf(await enter('debugger', 'app'))))
      expect(messageOf(await enter('debugger', 'portcullis'))).toMatch(
        /shop\/entered holds the keys of its workload/,
      )
      expect(messageOf(await enter('debugger', 'app'))).not.toMatch(/holds the keys/)
      await ground.allow('rescuer', [
        { apiGroups: [''], resources: ['pods/exec'], verbs: ['create', 'get'] },
        { apiGroups: [''], resources: ['pods'], verbs: ['relax'] },
      ])
      await until(
        'the role',
        async () => !/cannot create/.test(messageOf(await enter('rescuer', 'portcullis'))),
      )
      expect(messageOf(await enter('rescuer', 'portcullis'))).not.toMatch(/holds the keys/)
    })

    test('lets only the kubelet have tokens made for the operator', async () => {
      const rules = [{ apiGroups: [''], resources: ['serviceaccounts/token'], verbs: ['create'] }]
      await ground.allow('minter', rules)
      const mint = (audience: string, headers: Readonly<Record<string, string>>) =>
        ground.ask(
          'POST',
          '/api/v1/namespaces/shop/serviceaccounts/default/token',
          { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { audiences: [audience] } },
          headers,
        )
      const minter = { 'impersonate-user': 'minter' }
      await until('the role', async () => (await mint('vault.example', minter)).status === 201)
      expect(messageOf(await mint('portcullis.dev/cluster.example', minter))).toMatch(
        /only the kubelet may have one made/,
      )
      expect(await mint('portcullis.dev/cluster.example', {})).toMatchObject({ status: 201 })
    })

    test('says that a label with a slip in it means nothing', async () => {
      const said = messageOf(await ground.create('shop', written({}, { [INJECT]: 'true' })))
      expect(said).toMatch(
        /metadata\.labels\[portcullis\.dev\/inject\]: "true" means nothing.*write enabled or disabled/,
      )
      const space = await ground.ask('POST', '/api/v1/namespaces', {
        metadata: { name: 'slip', labels: { [INJECT]: 'yes' } },
      })
      expect(messageOf(space)).toMatch(/"yes" means nothing.*enabled, required or disabled/)
    })

    test.each<[string, string, object]>([
      ['apps', 'deployments', template({})],
      ['apps', 'daemonsets', template({})],
      ['batch', 'jobs', { template: { spec: JOB } }],
      ['batch', 'cronjobs', { schedule: '* * * * *', jobTemplate: { spec: { template: { spec: JOB } } } }],
    ])('warns where the label is on the %s %s and not on its pods', async (group, plural, spec) => {
      const metadata = { name: 'x', labels: { [INJECT]: 'enabled' } }
      const path = `/apis/${group}/v1/namespaces/shop/${plural}?dryRun=All`
      const answer = await ground.ask('POST', path, { metadata, spec })
      expect(answer.status).toBe(201)
      expect(answer.headers['warning']).toMatch(
        /has no effect here, as pods take their labels from the template/,
      )
      if (plural !== 'deployments') return
      const right = await ground.ask('POST', path, { metadata, spec: template({ [INJECT]: 'enabled' }) })
      expect([right.status, right.headers['warning']]).toEqual([201, undefined])
    })
  },
)

const JOB = { restartPolicy: 'Never', containers: [{ name: 'a', image: 'i' }] }

function template(labels: object): object {
  const pods = {
    metadata: { labels: { app: 'x', ...labels } },
    spec: { containers: [{ name: 'a', image: 'i' }] },
  }
  return { selector: { matchLabels: { app: 'x' } }, template: pods }
}
