import { describe, expect, test } from 'vitest'
import { parseFacts, unfit } from '../../contracts/redis/facts.ts'
import { aclFor, COMMANDS } from '../../contracts/redis/settings.ts'
import { nodeFor, parseSlots, slotOf } from '../../contracts/redis/slots.ts'
import { refusalOf } from '../../contracts/redis/trouble.ts'

describe('the slot of a key', () => {
  // The check value of CRC16/XMODEM, and keys asked of a redis-server with CLUSTER KEYSLOT.
  test.each([
    ['123456789', 0x31c3 % 16_384],
    ['somekey', 11_058],
    ['foo{hash_tag}', 2_515],
    ['bar{hash_tag}', 2_515],
    ['{}whole', slotOf('{}whole')],
  ])('%s is in %i', (key, slot) => {
    expect(slotOf(key)).toBe(slot)
  })
  test('an empty tag is no tag', () => {
    expect(slotOf('{}a')).not.toBe(slotOf('{}b'))
  })
})

describe('the map of slots', () => {
  const asked = { host: '10.0.0.9', port: 7000 }
  const node = (host: string, port: number) => [Buffer.from(host), port, Buffer.from('id')]
  test('names the master of each range', () => {
    const slots = parseSlots(
      [
        [0, 8191, node('10.0.0.1', 7001), node('10.0.0.2', 7002)],
        [8192, 16_383, node('10.0.0.3', 7003)],
      ],
      asked,
    )
    expect(slots && [0, 8191, 8192, 16_383].map((slot) => nodeFor(slots, slot)?.port)).toEqual([
      7001, 7001, 7003, 7003,
    ])
  })
  test.each([
    ['nil', [undefined, 7001]],
    ['an empty text', [Buffer.from(''), 7001]],
  ])('%s for a host is the one that was asked', (_name, master) => {
    expect(parseSlots([[0, 5, master]], asked)?.[0]?.node).toEqual({ host: '10.0.0.9', port: 7001 })
  })
  test.each([
    ['nothing', undefined],
    ['no range', []],
    ['a range backwards', [[5, 0, [Buffer.from('h'), 1]]]],
    ['a slot beyond the last', [[0, 16_384, [Buffer.from('h'), 1]]]],
    ['a port that is text', [[0, 5, [Buffer.from('h'), Buffer.from('1')]]]],
    [
      'one bad range among good ones',
      [
        [0, 5, [Buffer.from('h'), 1]],
        [6, 7],
      ],
    ],
  ])('%s is no map', (_name, reply) => {
    expect(parseSlots(reply, asked)).toBeUndefined()
  })
})

describe('fault E6: an error reply by its first word', () => {
  test.each([
    ["READONLY You can't write against a read only replica.", 'readonly'],
    ["OOM command not allowed when used memory > 'maxmemory'.", 'full'],
    ['MISCONF Redis is configured to save RDB snapshots', 'misconfigured'],
    ['NOREPLICAS Not enough good replicas to write.', 'misconfigured'],
    ['LOADING Redis is loading the dataset in memory', 'loading'],
    ['BUSY Redis is busy running a script.', 'busy'],
    ['NOAUTH Authentication required.', 'forbidden'],
    ['WRONGPASS invalid username-password pair or user is disabled.', 'forbidden'],
    ["NOPERM this user has no permissions to run the 'eval' command", 'forbidden'],
    ['WRONGTYPE Operation against a key holding the wrong kind of value', 'wrong_type'],
    ['CLUSTERDOWN The cluster is down', 'cluster_down'],
    ['TRYAGAIN Multiple keys request during rehashing of slot', 'moved'],
    ['constructor of something', 'other'],
    ['', 'other'],
  ])('%s', (text, trouble) => {
    expect(refusalOf(text)).toEqual({ refused: trouble })
  })
  test.each([
    ['MOVED 3999 10.0.0.1:6381', { refused: 'moved', to: { host: '10.0.0.1', port: 6381, ask: false } }],
    ['ASK 3999 fe80::1:6381', { refused: 'moved', to: { host: 'fe80::1', port: 6381, ask: true } }],
    ['MOVED 3999', { refused: 'moved' }],
    ['MOVED 3999 nowhere', { refused: 'moved' }],
  ])('%s', (text, refusal) => {
    expect(refusalOf(text)).toEqual(refusal)
  })
  // A node that does not know its own name (cluster-preferred-endpoint-type): an empty host would be this very machine.
  test.each([
    ['MOVED 3999 :6381', 'redis-1.shop.svc', { host: 'redis-1.shop.svc', port: 6381, ask: false }],
    ['ASK 3999 :6381', 'redis-1.shop.svc', { host: 'redis-1.shop.svc', port: 6381, ask: true }],
    ['MOVED 3999 :6381', '', undefined],
    ['MOVED 3999 10.0.0.1:6381', 'redis-1.shop.svc', { host: '10.0.0.1', port: 6381, ask: false }],
  ])('%s, said by "%s"', (text, asked, to) => {
    expect(refusalOf(text, asked).to).toEqual(to)
  })
})

describe('fault E7: what a server must be', () => {
  const info = (over: Readonly<Record<string, string>> = {}) =>
    Object.entries({
      loading: '0',
      role: 'master',
      master_replid: 'a'.repeat(40),
      maxmemory_policy: 'noeviction',
      ...over,
    })
      .map(([name, value]) => `${name}:${value}`)
      .join('\r\n')
  test.each([
    [{}, undefined],
    [{ maxmemory_policy: 'allkeys-lru' }, 'evicting'],
    [{ maxmemory_policy: 'volatile-ttl' }, 'evicting'],
    [{ role: 'slave' }, 'not_master'],
    [{ loading: '1' }, 'loading'],
    [{ master_replid: 'short' }, 'other'],
  ])('%o', (over, trouble) => {
    expect(unfit(parseFacts(info(over)))).toBe(trouble)
  })
  test('what it does not say is held against it', () => {
    expect(unfit(parseFacts('role:master'))).toBe('evicting')
  })
})

test('the ACL grants nothing of scripting, and nothing that reads or empties a keyspace', () => {
  const line = aclFor('portcullis', 'app')
  expect(line).toContain('~app:*')
  for (const bad of [
    'eval',
    'evalsha',
    'script',
    'function',
    'fcall',
    'flushall',
    'keys',
    'scan',
    'config',
    'debug',
  ])
    expect(line.split(' ').concat(COMMANDS)).not.toContain(`+${bad}`)
})
