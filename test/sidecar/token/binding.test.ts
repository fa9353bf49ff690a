// Sender constraints: which proof a token asks for, and that none is taken on trust.
import { expect, test } from 'vitest'
import { openDesk } from './desk.ts'

test.each<readonly [scheme: string, what: string, cnf: unknown, want: string]>([
  ['Bearer', 'no constraint', undefined, 'allow'],
  ['DPoP', 'no constraint', undefined, 'cnf_required'],
  ['Bearer', 'a DPoP key', { jkt: 'abc' }, 'cnf_scheme_mismatch'],
  ['DPoP', 'a DPoP key', { jkt: 'abc' }, 'dpop_missing'],
  ['Bearer', 'a certificate', { 'x5t#S256': 'abc' }, 'mtls_missing'],
  ['DPoP', 'a certificate', { 'x5t#S256': 'abc' }, 'mtls_missing'],
  ['Bearer', 'an embedded key', { jwk: {} }, 'cnf_unknown'],
  ['Bearer', 'a key id', { kid: 'abc' }, 'cnf_unknown'],
  ['Bearer', 'two methods', { jkt: 'abc', 'x5t#S256': 'abc' }, 'cnf_unknown'],
  ['Bearer', 'an empty one', {}, 'cnf_unknown'],
  ['Bearer', 'null', null, 'cnf_unknown'],
  ['Bearer', 'a text', 'jkt', 'cnf_unknown'],
  ['Bearer', 'a list', ['jkt'], 'cnf_unknown'],
  ['Bearer', 'a name that objects have', { constructor: 'abc' }, 'cnf_unknown'],
])('under %s, a token constrained to %s', async (scheme, _what, cnf, want) => {
  const desk = await openDesk()
  expect(await desk.verdictUnder(scheme, { claims: { cnf } })).toBe(want)
})
