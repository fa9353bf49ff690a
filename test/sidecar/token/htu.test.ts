// RFC 9449 section 4.3: htu without query and fragment, after RFC 3986 sections 6.2.2 and 6.2.3, by our own parser.
import { describe, expect, test } from 'vitest'
import { expectedUrl, normalUrl } from '../../../sidecar/token/htu.ts'
import type { Edge } from '../../../sidecar/trust/token-rules.ts'

const edge = (base: string | undefined, strippedPrefix = ''): Edge => ({
  baseUrl: base === undefined ? undefined : new URL(base),
  strippedPrefix,
  trustedHops: new Set(),
  certificateHeader: 'none',
  ownId: '',
})

describe('what is the same URL', () => {
  test.each([
    ['https://api.example/a', 'https://api.example/a'],
    ['HTTPS://API.Example/a', 'https://api.example/a'],
    ['https://api.example:443/a', 'https://api.example/a'],
    ['http://api.example:80/a', 'http://api.example/a'],
    ['http://api.example:443/a', 'http://api.example:443/a'],
    ['https://api.example:/a', 'https://api.example/a'],
    ['https://api.example', 'https://api.example/'],
    ['https://api.example?x=1', 'https://api.example/'],
    ['https://api.example/a?x=1#y', 'https://api.example/a'],
    ['https://api.example/a#y?z', 'https://api.example/a'],
    ['https://api.example/%7euser', 'https://api.example/~user'],
    ['https://api.example/%41%2d', 'https://api.example/A-'],
    ['https://api.example/%2f', 'https://api.example/%2F'],
    ['https://api.example/%c3%a9', 'https://api.example/%C3%A9'],
    ['https://api.example/a/./b', 'https://api.example/a/b'],
    ['https://api.example/a/../b', 'https://api.example/b'],
    ['https://api.example/a/%2e%2E/b', 'https://api.example/b'],
    ['https://api.example/../../b', 'https://api.example/b'],
    ['https://api.example/a/.', 'https://api.example/a/'],
    ['https://api.example/a/..', 'https://api.example/'],
    ['https://api.example/a/', 'https://api.example/a/'],
    ['https://api.example//a', 'https://api.example//a'],
    ['https://api.example/a//b', 'https://api.example/a//b'],
    ['https://api.example/A', 'https://api.example/A'],
    ["https://api.example/a;b=c,d!$&'()*+:@", "https://api.example/a;b=c,d!$&'()*+:@"],
    ['https://[::1]:8443/a', 'https://[::1]:8443/a'],
    ['https://[2001:DB8::1]/a', 'https://[2001:db8::1]/a'],
    ['https://%61pi.example/a', 'https://api.example/a'],
    ['https://bücher.example/a', 'https://xn--bcher-kva.example/a'],
    ['https://xn--bcher-kva.example/a', 'https://xn--bcher-kva.example/a'],
    ['https://api.example./a', 'https://api.example./a'],
  ])('D9: %s is %s', (text, normal) => {
    expect(normalUrl(text)).toBe(normal)
  })

  test('D9: what is normal stays as it is', () => {
    for (const text of ['https://api.example/a/b?c', 'http://x:8080//%2F/~', 'https://x/..%2F/']) {
      const once = normalUrl(text) ?? ''
      expect(normalUrl(once)).toBe(once)
    }
  })
})

describe('what is no URL to us, though a browser would repair it', () => {
  test.each([
    '',
    'api.example/a',
    '/a',
    '//api.example/a',
    'ftp://api.example/a',
    'https:api.example/a',
    'https:/api.example/a',
    'https:///api.example/a',
    'https:\\\\api.example\\a',
    'https://api.example\\a',
    'https://api.example/a\\b',
    ' https://api.example/a',
    'https://api.example/a ',
    'https://api.example/a b',
    'https://api.example/a\tb',
    'https://api.ex\nample/a',
    'https://api.example/a\n',
    'https://api.example/%',
    'https://api.example/%2',
    'https://api.example/%zz',
    'https://api.example/é',
    'https://api.example/{a}',
    'https://api.example/"a"',
    'https://api.example/a?é',
    'https://api.example/a#\u0000',
    'https://user@api.example/a',
    'https://user:secret@api.example/a',
    'https://api.example@evil.example/a',
    'https://@api.example/a',
    'https://:443/a',
    'https://api.example:44a/a',
    'https://api.example:443:443/a',
    'https://[::1/a',
    'https://[::1]x/a',
    'https://ａpi.example/a',
    'https://BÜCHER.example/a',
    'https://api。example/a',
    'javascript://api.example/%0aalert(1)',
  ])('D9: %j', (text) => {
    expect(normalUrl(text)).toBeUndefined()
  })
})

describe('the URL of a request', () => {
  test.each<readonly [base: string, prefix: string, target: string, want: string | undefined]>([
    ['https://api.example', '', '/a?b=c', 'https://api.example/a'],
    ['https://api.example/', '', '/a', 'https://api.example/a'],
    ['https://API.example:443', '', '/', 'https://api.example/'],
    ['https://api.example:8443', '', '/a', 'https://api.example:8443/a'],
    ['https://bücher.example', '', '/a', 'https://xn--bcher-kva.example/a'],
    ['https://api.example', '/shop', '/a', 'https://api.example/shop/a'],
    ['https://api.example/shop', '/shop', '/a', 'https://api.example/shop/a'],
    ['https://api.example/shop', '', '/shop/a', 'https://api.example/shop/a'],
    ['https://api.example/shop', '', '/shop', 'https://api.example/shop'],
    ['https://api.example/shop', '', '/shopping', undefined],
    ['https://api.example/shop', '', '/a', undefined],
    ['https://api.example/shop', '/shop', '/../a', undefined],
    ['https://api.example', '', '/a/../b/%7e', 'https://api.example/b/~'],
    ['https://api.example', '', 'https://evil.example/a?b', 'https://api.example/a'],
    ['https://api.example', '', 'https://evil.example', 'https://api.example/'],
    ['https://api.example', '', '*', undefined],
    ['https://api.example', '', 'evil.example:443', undefined],
    ['https://api.example', '', '/a\\b', undefined],
    ['https://api.example', '', '/a b', undefined],
    ['https://api.example', '', '/%', undefined],
  ])('D9: under %s with %j taken off, %s is %s', (base, prefix, target, want) => {
    expect(expectedUrl(edge(base, prefix), target)).toBe(want)
  })

  test('D9: of what is not configured there is none', () => {
    expect(expectedUrl(edge(undefined), '/a')).toBeUndefined()
  })
})
