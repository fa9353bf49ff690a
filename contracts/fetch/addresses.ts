import { BlockList, isIP } from 'node:net'

/** Where an address leads, as far as outgoing requests care. */
export type Reach = 'public' | 'private' | 'loopback' | 'forbidden'

const PRIVATE = blockList(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10'], ['fc00::/7'])
const LOOPBACK = blockList(['127.0.0.0/8'], ['::1/128'])
/** Link-local (cloud metadata services), multicast, this-network, reserved and documentation ranges (RFC 6890). */
const FORBIDDEN = blockList(
  [
    '0.0.0.0/8',
    '169.254.0.0/16',
    '192.0.0.0/24',
    '192.0.2.0/24',
    '198.18.0.0/15',
    '198.51.100.0/24',
    '203.0.113.0/24',
    '224.0.0.0/4',
    '240.0.0.0/4',
  ],
  [
    '::/96',
    'fe80::/10',
    'fec0::/10',
    'ff00::/8',
    '64:ff9b::/96',
    '64:ff9b:1::/48',
    '100::/64',
    '2001::/23',
    '2001:db8::/32',
    '2002::/16',
  ],
)

/** Classifies a literal IP address. An IPv4 address in IPv6 clothing counts as what it is. */
export function reachOf(address: string): Reach {
  const plain =
    address.toLowerCase().startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address
  const version = isIP(plain)
  if (version === 0 || /^::ffff:/i.test(plain)) return 'forbidden'
  const family = version === 4 ? 'ipv4' : 'ipv6'
  if (LOOPBACK.check(plain, family)) return 'loopback'
  if (FORBIDDEN.check(plain, family)) return 'forbidden'
  return PRIVATE.check(plain, family) ? 'private' : 'public'
}

function blockList(ipv4: readonly string[], ipv6: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ipv4) addRange(list, range, 'ipv4')
  for (const range of ipv6) addRange(list, range, 'ipv6')
  return list
}

function addRange(list: BlockList, range: string, family: 'ipv4' | 'ipv6'): void {
  const [network = '', prefix = ''] = range.split('/')
  list.addSubnet(network, Number(prefix), family)
}
