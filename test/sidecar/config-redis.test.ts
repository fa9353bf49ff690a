import { describe, expect, test } from 'vitest'
import { createReader } from '../../sidecar/config-reader.ts'
import { type RedisGround, readRedis } from '../../sidecar/config-redis.ts'

// The section `redis`, of the file and of the argument.

const FILES: RedisGround = { base: '/etc/portcullis', client: 'files' }
const LIVE: RedisGround = { base: '/', client: 'live' }
const GOOD = { mode: 'standalone', nodes: ['redis.shop.svc:6379'] }

function read(value: unknown, ground: RedisGround = FILES) {
  const reader = createReader()
  const settings = readRedis(reader, value, ground)
  return { settings, problems: reader.problems }
}

test('absent: nothing is shared', () => {
  expect(read(undefined)).toEqual({ settings: undefined, problems: [] })
})

test('what is left out has one meaning', () => {
  expect(read(GOOD)).toEqual({
    problems: [],
    settings: {
      mode: 'standalone',
      nodes: [{ host: 'redis.shop.svc', port: 6379 }],
      sentinel: undefined,
      tls: undefined,
      username: undefined,
      passwordFile: undefined,
      keyPrefix: 'portcullis',
      replicas: 0,
    },
  })
})

test('everything, standalone: paths begin where the file lies', () => {
  const { settings, problems } = read({
    mode: 'sentinel',
    nodes: ['10.0.0.1:26379', '[fd00::2]:26379'],
    sentinelName: 'tokens',
    sentinelUsername: 'watcher',
    sentinelPasswordFile: 'sentinel.txt',
    username: 'portcullis',
    passwordFile: '/run/secrets/redis',
    keyPrefix: 'shop',
    replicas: 1,
    tls: { ca: 'ca.pem', cert: 'cert.pem', key: 'key.pem', serverName: 'redis.example' },
  })
  expect(problems).toEqual([])
  expect(settings).toMatchObject({
    nodes: [
      { host: '10.0.0.1', port: 26_379 },
      { host: 'fd00::2', port: 26_379 },
    ],
    sentinel: { name: 'tokens', username: 'watcher', passwordFile: '/etc/portcullis/sentinel.txt' },
    passwordFile: '/run/secrets/redis',
    tls: {
      ca: { file: '/etc/portcullis/ca.pem' },
      client: { certFile: '/etc/portcullis/cert.pem', keyFile: '/etc/portcullis/key.pem' },
      serverName: 'redis.example',
    },
  })
})

test('injected: TLS is with the SVID of the workload, which needs no file and no password', () => {
  const { settings, problems } = read({ ...GOOD, username: 'shop', tls: { caPem: 'PEM' } }, LIVE)
  expect(problems).toEqual([])
  expect(settings?.tls).toEqual({ ca: { pem: 'PEM' }, client: 'live', serverName: undefined })
})

describe('told with the place, and what to do', () => {
  test.each([
    [{ ...GOOD, mode: 'cloud' }, FILES, 'redis.mode: required'],
    [{ ...GOOD, nodes: [] }, FILES, 'redis.nodes: required'],
    [{ ...GOOD, nodes: ['a:1', 'b:1'] }, FILES, 'redis.nodes: required: a list of 1 to 1'],
    [{ ...GOOD, nodes: ['redis://h:1'] }, FILES, 'redis.nodes[0]: must be HOST:PORT'],
    [{ ...GOOD, nodes: ['h:0'] }, FILES, 'redis.nodes[0]: must be HOST:PORT'],
    [{ ...GOOD, nodes: ['h:65536'] }, FILES, 'redis.nodes[0]: must be HOST:PORT'],
    [{ ...GOOD, mode: 'sentinel' }, FILES, 'redis.sentinelName: required'],
    [{ ...GOOD, sentinelName: 'x' }, FILES, 'redis.sentinelName: goes with mode sentinel only'],
    [{ ...GOOD, username: 'u' }, FILES, 'redis.passwordFile: required with username'],
    [{ ...GOOD, password: 'secret' }, FILES, 'redis.password: unknown'],
    [{ ...GOOD, keyPrefix: 'a:b' }, FILES, 'redis.keyPrefix: must be'],
    [{ ...GOOD, keyPrefix: '{a}' }, FILES, 'redis.keyPrefix: must be'],
    [{ ...GOOD, replicas: 9 }, FILES, 'redis.replicas: must be a whole number from 0 to 8'],
    [{ ...GOOD, tls: { cert: 'c' } }, FILES, 'redis.tls: cert and key go together'],
    [{ ...GOOD, tls: { caPem: 'PEM' } }, FILES, 'redis.tls.caPem: unknown'],
    [{ ...GOOD, tls: { ca: 'file' } }, LIVE, 'redis.tls.ca: unknown'],
  ] as const)('%j', (value, ground, problem) => {
    expect(read(value, ground).problems.join('\n')).toContain(problem)
  })
})
