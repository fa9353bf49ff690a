import { expect, test } from 'vitest'
import { createPublished } from '../../../operator/inject/published.ts'
import { injectionOf } from '../../../operator/inject/sidecar.ts'
import { FACTS, IMAGE, NEXT_PEM, PEM, profile } from './pods.ts'

const before = { profile: profile(), facts: FACTS }
const after = { profile: profile({ image: IMAGE.replace('aaa', 'bbb') }), facts: FACTS }
const said = (one: typeof before) => injectionOf(one.profile, one.facts)

test('nothing is injected before the status says what', () => {
  const published = createPublished()
  published.observe(before, undefined)
  expect(published.current()).toBeUndefined()
  published.observe(before, said(before))
  expect(published.current()).toEqual(before)
})

test('a changed profile is injected from the moment its status says so, and the earlier one until then', () => {
  const published = createPublished()
  published.observe(before, said(before))
  published.observe(after, said(before))
  expect(published.current()).toEqual(before)
  published.observe(after, said(after))
  expect(published.current()).toEqual(after)
})

test('a replica that starts amid a change injects nothing rather than what the guard refuses', () => {
  const published = createPublished()
  published.observe(after, said(before))
  expect(published.current()).toBeUndefined()
})

test('a new root is handed out once it is published, and a withdrawn one no more', () => {
  const published = createPublished()
  const both = { ...before, facts: { ...FACTS, trustAnchors: [PEM, NEXT_PEM] } }
  published.observe(both, said(before))
  expect(published.current()?.facts.trustAnchors).toEqual([PEM])
  published.observe(both, said(both))
  expect(published.current()?.facts.trustAnchors).toEqual([PEM, NEXT_PEM])
  published.observe({ ...before, facts: { ...FACTS, trustAnchors: [NEXT_PEM] } }, said(both))
  expect(published.current()?.facts.trustAnchors).toEqual([NEXT_PEM])
})

test('with a status that fits nothing known, and with the profile gone, nothing is injected', () => {
  const published = createPublished()
  published.observe(before, said(before))
  published.observe(before, { ...said(before), args: ['--other'] })
  expect(published.current()).toBeUndefined()
  published.observe(before, said(before))
  published.observe(undefined, undefined)
  expect(published.current()).toBeUndefined()
})

test('the order of the names in a status, which is a set, does not matter', () => {
  const published = createPublished()
  published.observe(before, { ...said(before), env: said(before).env.toReversed() })
  expect(published.current()).toEqual(before)
})
