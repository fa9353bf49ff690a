import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'

/**
 * Who sent a request, as far as limits go. Behind an ingress it is the address that the ingress has put last: what stands before that
 * the sender wrote itself.
 */
export function senderOf({ headers, socket }: IncomingMessage, behindIngress: boolean): string {
  const listed = behindIngress ? [headers['x-forwarded-for']].flat().at(-1)?.split(',').at(-1)?.trim() : ''
  const address = listed && isIP(listed) ? listed : (socket.remoteAddress ?? '')
  return isIP(address) === 6 ? networkOf(address) : address
}

/** The /64 of an IPv6 address, which is what one subscriber has; an IPv4 address in it is itself. */
function networkOf(address: string): string {
  const plain = address.toLowerCase().split('%', 1)[0] ?? ''
  const mapped = /^::ffff:([\d.]+)$/.exec(plain)?.[1]
  if (mapped !== undefined) return mapped
  const [left = '', right] = plain.split('::')
  const before = groupsOf(left)
  const after = groupsOf(right ?? '')
  const zeros = right === undefined ? 0 : Math.max(0, 8 - before.length - after.length)
  return [...before, ...Array<string>(zeros).fill('0'), ...after].slice(0, 4).join(':')
}

function groupsOf(text: string): readonly string[] {
  if (text === '') return []
  // An IPv4 address at the end takes the room of two groups, and never stands in the first half.
  return text
    .split(':')
    .flatMap((group) => (group.includes('.') ? ['0', '0'] : [group.replace(/^0+(?=.)/, '')]))
}
