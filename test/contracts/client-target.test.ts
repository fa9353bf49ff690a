import { expect, test } from 'vitest'
import { createAuthorizerClient } from '../../contracts/client.ts'

test.each([
  'unix:///run/portcullis/check.sock',
  '127.0.0.1:9191',
  '[::1]:9191',
  'localhost:9191',
  'localhost:65535',
])('%s is on this machine', (target) => {
  createAuthorizerClient({ target }).close()
})

test.each([
  '',
  '9191',
  ':9191',
  '0.0.0.0:9191',
  '127.0.0.2:9191',
  '10.0.0.1:9191',
  '[::]:9191',
  '[::ffff:10.0.0.1]:9191',
  '::1:9191',
  'example.com:9191',
  'localhost.example.com:9191',
  'localhost:9191,example.com:9191',
  '127.0.0.1:9191@example.com:1',
  'dns:///localhost:9191',
  'dns://example.com/localhost:9191',
  'ipv4:127.0.0.1:9191',
  'http://127.0.0.1:9191',
  '127.0.0.1:0',
  '127.0.0.1:65536',
  '127.0.0.1',
  '127.0.0.1:9191\n',
  'LOCALHOST:9191',
  'unix:relative.sock',
  'unix://host/path.sock',
  'unix:///',
  'unix:///run/a\nb.sock',
  'unix-abstract:portcullis',
  `unix:///${'x'.repeat(108)}`,
])('%j is refused when the client is made', (target) => {
  expect(() => createAuthorizerClient({ target })).toThrow(/^target: /)
})

test.each([
  ['window', { window: 0 }],
  ['window', { window: 129 }],
  ['window', { window: 1.5 }],
  ['queue', { queue: 0 }],
  ['deadlineMs', { deadlineMs: 0 }],
  ['deadlineMs', { deadlineMs: Number.POSITIVE_INFINITY }],
  ['deadlineMs', { deadlineMs: 60_001 }],
])('%s out of range is refused when the client is made: %j', (name, option) => {
  expect(() => createAuthorizerClient({ target: 'localhost:1', ...option })).toThrow(new RegExp(`^${name}: `))
})
