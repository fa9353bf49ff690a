// Who is remembered at the logout port, and that nobody can make it forget others.
import { expect, test } from 'vitest'
import { createLimits } from '../../../operator/logout/limits.ts'

const SOURCE = 'shop/idp'
const flood = (limits: ReturnType<typeof createLimits>) => {
  for (let one = 0; one < 400; one++) limits.check(`192.0.2.${one % 8}`, SOURCE)
}

test('whoever brings genuine logouts of another TokenIssuer from many addresses makes nobody forgotten here', () => {
  const limits = createLimits(() => 0)
  limits.settled('198.51.100.1', SOURCE)
  for (let one = 0; one < 5_000; one++) limits.settled(`2001:db8:0:${one.toString(16)}`, 'tenant/own')
  flood(limits)
  expect(limits.check('198.51.100.2', SOURCE)).toBe('issuer_rate')
  expect(limits.check('198.51.100.1', SOURCE)).toBeUndefined()
  expect(limits.knows('198.51.100.1')).toBe(true)
})

test('of one TokenIssuer 256 are remembered, and the one that was not used for longest goes first', () => {
  const limits = createLimits(() => 0)
  limits.settled('198.51.100.1', SOURCE)
  limits.settled('198.51.100.2', SOURCE)
  limits.settled('198.51.100.2', 'idm/idp')
  limits.settled('198.51.100.3', SOURCE)
  limits.settled('198.51.100.1', SOURCE)
  for (let one = 0; one < 254; one++) limits.settled(`2001:db8:0:${one.toString(16)}`, SOURCE)
  flood(limits)
  expect(limits.check('198.51.100.1', SOURCE)).toBeUndefined()
  expect(limits.check('198.51.100.2', SOURCE)).toBe('issuer_rate')
  expect(limits.check('198.51.100.3', SOURCE)).toBeUndefined()
  // What is forgotten of one TokenIssuer is still known of the other.
  expect(limits.knows('198.51.100.2')).toBe(true)
})

test('however many TokenIssuers there are, 1,024 are remembered', () => {
  const limits = createLimits(() => 0)
  for (let one = 0; one <= 1_024; one++) limits.settled(`2001:db8:0:${one.toString(16)}`, `shop/idp-${one}`)
  expect([limits.knows('2001:db8:0:0'), limits.knows('2001:db8:0:1')]).toEqual([false, true])
})
