// A token that can be verified here is verified here: nobody is asked, and nobody else's token is good here.
import { describe, expect, test } from 'vitest'
import { openArena } from '../../attacks/arena.ts'

test('002-16, 004-38: on the local road nobody is asked, however many tokens come', async () => {
  let asked = 0
  const arena = await openArena({
    refresh: async () => ++asked > 0,
    askEndpoint: async () => {
      asked++
      throw new Error('nobody should be asked')
    },
  })
  for (let count = 0; count < 200; count++) expect(await arena.verdict({})).toBe('allow')
  for (let count = 0; count < 200; count++)
    expect(await arena.verdict({ claims: { aud: 'x' } })).toBe('aud_mismatch')
  expect(asked).toBe(0)
})

describe('000-04: two APIs behind one provider', async () => {
  const [orders, invoices] = ['https://orders.test.example', 'https://invoices.test.example']
  const apis = {
    [orders]: await openArena({ audience: orders }),
    [invoices]: await openArena({ audience: invoices }),
  }

  test.each([
    [orders, orders, 'allow'],
    [orders, invoices, 'aud_mismatch'],
    [invoices, orders, 'aud_mismatch'],
    [invoices, invoices, 'allow'],
  ])('a token for %s at %s: %s', async (aud, at, want) => {
    expect(await apis[at]?.verdict({ claims: { aud } })).toBe(want)
  })
})
