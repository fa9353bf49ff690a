import { expect, test } from 'vitest'
import { MAX_DEPTH, parseObject } from '../../contracts/json.ts'

const read = (text: string | Buffer) => {
  const parsed = parseObject(typeof text === 'string' ? Buffer.from(text) : text)
  return typeof parsed === 'string' ? parsed : parsed.value
}

test.each([
  ['at the top', '{"a":1,"a":1}'],
  ['of different types', '{"a":1,"a":null}'],
  ['three times', '{"a":1,"a":2,"a":3}'],
  ['apart', '{"a":1,"b":2,"c":3,"a":4}'],
  ['nested', '{"x":{"a":1,"a":2}}'],
  ['deeply nested', '{"x":[{"y":[{"a":1,"a":2}]}]}'],
  ['in an array', '{"x":[1,{"a":1,"a":2}]}'],
  ['once escaped', '{"a":1,"\\u0061":2}'],
  ['both escaped', '{"\\u0061":1,"\\u0061":2}'],
  ['escaped in upper and lower case', '{"\\u006a":1,"\\u006A":2}'],
  ['escaped as a surrogate pair and raw', '{"\\ud83d\\ude00":1,"😀":2}'],
  ['with an empty name', '{"":1,"":2}'],
  ['named __proto__', '{"__proto__":{},"__proto__":{}}'],
  ['whose first value holds members', '{"a":{"b":1,"c":2},"a":0}'],
  ['behind a colon in a string', '{"a":":","a":"::"}'],
])('J3: a duplicate member %s is refused', (_where, text) => {
  expect(read(text)).toBe('json_duplicate')
})

test.each([
  ['a name twice on different levels', '{"a":{"a":{"a":1}}}'],
  ['a name twice in sibling objects', '{"x":[{"a":1},{"a":2}]}'],
  ['names that differ in case', '{"a":1,"A":2}'],
  ['names that differ in normal form', '{"\\u00e9":1,"e\\u0301":2}'],
  ['colons, braces and brackets in strings', '{"a:b{[":"c:d]}","e":[":","{"]}'],
  ['quotes and backslashes in strings', '{"a\\"b\\\\":"c\\\\\\":\\"d"}'],
  ['a string that ends with a backslash', '{"a":"b\\\\"}'],
  ['__proto__, constructor and toString', '{"__proto__":{"a":1},"constructor":1,"toString":2}'],
  ['every kind of value', '{"s":"x","n":-1.5e3,"t":true,"f":false,"z":null,"a":[],"o":{}}'],
  ['nulls and empty containers', '{"a":null,"b":[null,{}],"c":{"d":null}}'],
  ['blanks of all four kinds', ' \t\r\n{ "a" :\t1 ,\n"b" : [ ] } \n'],
  ['no member at all', '{}'],
  ['an empty name', '{"":1}'],
])('%s is read as JSON.parse reads it', (_what, text) => {
  expect(read(text)).toEqual(JSON.parse(text))
})

test('__proto__ is a member like any other and changes no prototype', () => {
  const value = read('{"__proto__":{"admin":true}}')
  expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
  expect(Object.keys(value)).toEqual(['__proto__'])
})

const arrays = (depth: number) => `{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`
const objects = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`

test.each([
  ['arrays', MAX_DEPTH - 1, 'read', arrays],
  ['arrays', MAX_DEPTH, 'read', arrays],
  ['arrays', MAX_DEPTH + 1, 'json_depth', arrays],
  ['objects', MAX_DEPTH, 'read', objects],
  ['objects', MAX_DEPTH + 1, 'json_depth', objects],
  ['arrays', 100_000, 'json_depth', arrays],
  ['objects', 100_000, 'json_depth', objects],
])('%s nested %i deep: %s', (_kind, depth, want, make) => {
  const outcome = read(make(depth))
  expect(typeof outcome === 'string' ? outcome : 'read').toBe(want)
})

test('brackets in strings do not count as nesting', () => {
  expect(read(`{"a":"${'['.repeat(100)}"}`)).not.toBe('json_depth')
})

test.each([
  ['a byte order mark', Buffer.from('\ufeff{}')],
  ['a UTF-16 text', Buffer.from('{}', 'utf16le')],
  ['a Latin-1 letter', Buffer.from('{"a":"é"}', 'latin1')],
  ['an overlong encoding', Buffer.from([0x7b, 0x22, 0xc1, 0xa1, 0x22, 0x3a, 0x31, 0x7d])],
  ['an encoded surrogate', Buffer.from([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d])],
  ['a cut-off character', Buffer.from([0x7b, 0x22, 0xe2, 0x82])],
  ['an escaped lone high surrogate', '{"a":"\\ud800"}'],
  ['an escaped lone low surrogate', '{"a":"\\udc00x"}'],
  ['surrogates in the wrong order', '{"a":"\\udc00\\ud800"}'],
  ['a lone surrogate in a name', '{"\\ud800":1}'],
  ['a lone surrogate deep inside', '{"a":[{"b":["\\udfff"]}]}'],
  ['an escaped NUL', '{"a":"b\\u0000c"}'],
  ['an escaped NUL in a name', '{"sub\\u0000":1}'],
  ['a raw NUL', '{"a":"b\0c"}'],
  ['a NUL after the object', '{}\0'],
  ['a raw line break in a string', '{"a":"b\nc"}'],
  ['an array', '[]'],
  ['null', 'null'],
  ['a string', '"a"'],
  ['a number', '1'],
  ['nothing', ''],
  ['blanks', '  '],
  ['two objects', '{}{}'],
  ['text after the object', '{} x'],
  ['a trailing comma', '{"a":1,}'],
  ['a comment', '{"a":1/* */}'],
  ['single quotes', "{'a':1}"],
  ['a bare name', '{a:1}'],
  ['a leading zero', '{"a":01}'],
  ['a leading plus', '{"a":+1}'],
  ['a hexadecimal number', '{"a":0x10}'],
  ['NaN', '{"a":NaN}'],
  ['Infinity', '{"a":Infinity}'],
  ['an object that does not end', '{"a":1'],
  ['a string that does not end', '{"a":"b'],
  ['a backslash at the end', '{"a":"b\\'],
  ['an unknown escape', '{"a":"\\x41"}'],
])('J3: %s is refused', (_what, text) => {
  expect(read(text)).toBe('json_invalid')
})

test('a surrogate pair, escaped or raw, is read', () => {
  expect(read('{"a":"\\ud83d\\ude00"}')).toEqual({ a: '😀' })
  expect(read('{"a":"😀"}')).toEqual({ a: '😀' })
})

test('numbers are read as they are; whether one fits is for the check that uses it', () => {
  expect(read('{"a":1e999,"b":9007199254740993,"c":-0,"d":1.5}')).toEqual({
    a: Number.POSITIVE_INFINITY,
    b: 9007199254740992,
    c: -0,
    d: 1.5,
  })
})

test('the text goes with the value, exactly as received', () => {
  const text = ' { "b" : 1.0, "a" : "\\u0041" } '
  expect(parseObject(Buffer.from(text))).toEqual({ value: { a: 'A', b: 1 }, text })
})
