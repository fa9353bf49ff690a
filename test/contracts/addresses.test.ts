import { expect, test } from 'vitest'
import { reachOf } from '../../contracts/fetch/addresses.ts'

const ADDRESSES = {
  public: [
    '8.8.8.8',
    '1.1.1.1',
    '172.15.255.255',
    '172.32.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '192.0.3.0',
    '198.20.0.0',
    '223.255.255.255',
    '2606:4700::1111',
    '2001:4860:4860::8888',
    '2003::1',
  ],
  private: [
    '10.0.0.0',
    '10.255.255.255',
    '172.16.0.0',
    '172.31.255.255',
    '192.168.0.0',
    '192.168.255.255',
    '100.64.0.0',
    '100.127.255.255',
    'fc00::1',
    'fdff:ffff::1',
    '::ffff:10.0.0.1',
    '::FFFF:192.168.1.1',
  ],
  loopback: [
    '127.0.0.1',
    '127.255.255.255',
    '::1',
    '0:0:0:0:0:0:0:1',
    '::ffff:127.0.0.1',
    '::FFFF:127.0.0.1',
  ],
  forbidden: [
    '0.0.0.0',
    '0.255.255.255',
    '169.254.0.0',
    '169.254.169.254',
    '169.254.255.255',
    '192.0.0.1',
    '192.0.2.1',
    '198.18.0.1',
    '198.19.255.255',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '239.255.255.255',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    'fe80::1',
    'febf::1',
    'fec0::1',
    'ff02::1',
    '64:ff9b::7f00:1',
    '64:ff9b::a9fe:a9fe',
    '64:ff9b:1::1',
    '100::1',
    '2001::1',
    '2001:db8::1',
    '2002:7f00:1::',
    '2002:a9fe:a9fe::1',
    '::ffff:169.254.169.254',
    '::ffff:0.0.0.0',
    '::7f00:1',
    '::127.0.0.1',
    '::a9fe:a9fe',
    '::ffff:0:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:a9fe:a9fe',
    '::ffff:808:808',
    'fe80::1%lo',
  ],
} as const

test.each(
  Object.entries(ADDRESSES).flatMap(([reach, list]) => list.map((address) => [address, reach] as const)),
)('%s is %s', (address, reach) => {
  expect(reachOf(address)).toBe(reach)
})

test.each([
  '',
  'localhost',
  '1.2.3',
  '1.2.3.4.5',
  '0177.0.0.1',
  '0x7f.0.0.1',
  '2130706433',
  '127.1',
  ' 8.8.8.8',
  '8.8.8.8 ',
  '[::1]',
  '::g',
])('"%s" is no literal address and leads nowhere', (text) => {
  expect(reachOf(text)).toBe('forbidden')
})

test('however a mapped IPv4 address is written, it is never public', () => {
  for (const tail of ['7f00:1', 'a00:1', 'a9fe:a9fe', '127.0.0.1', '10.0.0.1', '169.254.169.254']) {
    for (const head of ['::ffff:', '0:0:0:0:0:ffff:', '0000:0000:0000:0000:0000:FFFF:', '::0:ffff:']) {
      expect(reachOf(`${head}${tail}`), `${head}${tail}`).not.toBe('public')
    }
  }
})
