import { POLICY_BUNDLE, parsePolicyBundle } from '../../../../contracts/crd/policy-bundle.ts'
import type { Rows } from './row.ts'

const modules = [{ path: 'app/rules.rego', rego: 'package app.rules' }]

export const POLICY_BUNDLE_ROWS: Rows = {
  definition: POLICY_BUNDLE,
  parse: parsePolicyBundle,
  sample: { source: { type: 'Inline', inline: { modules } } },
  defaulted: { source: { type: 'Inline', inline: { modules } }, tests: 'Required' },
  accepted: [
    { name: 'settings', change: { 'source.inline.settings': '{"limit": 100}' } },
    {
      name: 'two modules',
      change: { 'source.inline.modules': [...modules, { path: 'a_test.rego', rego: 'x' }] },
    },
    { name: 'tests skipped', change: { tests: 'Skip' } },
    { name: 'a ConfigMap', change: { source: { type: 'ConfigMap', configMap: { name: 'rules.v1' } } } },
    { name: 'a URL', change: { source: { type: 'HTTP', http: { url: 'https://rules.example/b.tar.gz' } } } },
    {
      name: 'a URL with everything',
      change: {
        source: {
          type: 'HTTP',
          http: {
            url: 'https://rules.example/b.tar.gz',
            addresses: 'Private',
            refreshInterval: '1h',
            sha256: '0'.repeat(64),
          },
        },
      },
    },
    {
      name: '64 modules',
      change: {
        'source.inline.modules': Array.from({ length: 64 }, (_, n) => ({ path: `m${n}.rego`, rego: 'x' })),
      },
    },
    {
      name: 'the largest module',
      change: { 'source.inline.modules': [{ path: 'm.rego', rego: 'x'.repeat(65_536) }] },
    },
  ],
  refused: [
    {
      name: 'no source',
      change: { source: undefined },
      field: 'spec.source',
      says: 'is required; add it',
      server: 'Required value',
    },
    {
      name: 'a type without its member',
      change: { 'source.type': 'ConfigMap', 'source.inline': undefined },
      field: 'spec.source.configMap',
      says: 'goes with type ConfigMap and only with it: give configMap, or change type',
    },
    {
      name: 'two sources',
      change: { 'source.configMap': { name: 'rules' } },
      field: 'spec.source.configMap',
      says: 'goes with type ConfigMap and only with it',
    },
    {
      name: 'an unknown type',
      change: { 'source.type': 'Git' },
      field: 'spec.source.type',
      says: 'must be one of Inline, ConfigMap, HTTP',
      server: 'supported values: "Inline", "ConfigMap", "HTTP"',
    },
    {
      name: 'a module that is not Rego',
      change: { 'source.inline.modules': [{ path: 'rules.json', rego: '{}' }] },
      field: 'spec.source.inline.modules[0].path',
      says: 'must be a relative path that ends in .rego, such as app/invoices.rego',
    },
    {
      name: 'a module outside',
      change: { 'source.inline.modules': [{ path: '../floor.rego', rego: 'x' }] },
      field: 'spec.source.inline.modules[0].path',
      says: 'no part may begin with a dot',
    },
    {
      name: 'a module at the root of the file system',
      change: { 'source.inline.modules': [{ path: '/etc/floor.rego', rego: 'x' }] },
      field: 'spec.source.inline.modules[0].path',
      says: 'must be a relative path',
    },
    {
      name: 'a path twice',
      change: { 'source.inline.modules': [...modules, ...modules] },
      field: 'spec.source.inline.modules',
      says: 'has two entries with the same path; merge them',
      server: 'Duplicate value',
    },
    {
      name: 'no module',
      change: { 'source.inline.modules': [] },
      field: 'spec.source.inline.modules',
      says: 'at least 1 entries',
      server: 'should have at least 1 items',
    },
    {
      name: '65 modules',
      change: {
        'source.inline.modules': Array.from({ length: 65 }, (_, n) => ({ path: `m${n}.rego`, rego: 'x' })),
      },
      field: 'spec.source.inline.modules',
      says: 'at most 64 entries',
      server: 'must have at most 64 items',
    },
    {
      name: 'a module too large',
      change: { 'source.inline.modules': [{ path: 'm.rego', rego: 'x'.repeat(65_537) }] },
      field: 'spec.source.inline.modules[0].rego',
      says: 'at most 65536 characters',
      server: 'may not be more than 65536 bytes',
    },
    {
      name: 'modules too large together',
      change: {
        'source.inline.modules': Array.from({ length: 17 }, (_, n) => ({
          path: `m${n}.rego`,
          rego: 'x'.repeat(65_000),
        })),
      },
      field: 'spec.source.inline.modules',
      says: 'must have at most 1 MiB of text together: serve a larger bundle with type HTTP',
    },
    {
      name: 'a digest of another kind',
      change: { source: { type: 'HTTP', http: { url: 'https://rules.example/b', sha256: 'sha256:abc' } } },
      field: 'spec.source.http.sha256',
      says: 'must be a SHA-256 in 64 lower case hex digits',
    },
    {
      name: 'a refresh each second',
      change: { source: { type: 'HTTP', http: { url: 'https://rules.example/b', refreshInterval: '1s' } } },
      field: 'spec.source.http.refreshInterval',
      says: 'must be a duration from 10s to 1h, written such as 60s',
    },
    {
      name: 'settings that are no object',
      change: { 'source.inline.settings': '[1]' },
      field: 'spec.source.inline.settings',
      says: 'must be a JSON object as text',
      admissionOnly: true,
    },
  ],
  frozen: [],
  status: {
    revision: 'sha256:1',
    sourceDigest: 'sha256:2',
    wasm: { sha256: 'a'.repeat(64), bytes: 123_456 },
    problems: [{ file: 'app/rules.rego', line: 3, message: 'unexpected eof token' }],
    programmed: '3/3 at sha256:1',
  },
  columns: ['NAME', 'READY', 'SOURCE', 'REVISION', 'PROGRAMMED', 'AGE'],
}
