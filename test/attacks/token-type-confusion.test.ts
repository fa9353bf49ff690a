import { describe } from 'vitest'
import { admits, openArena, refuses, spellings } from './arena.ts'

const arena = await openArena()
const OTHERS = [
  'logout+jwt',
  'secevent+jwt',
  'token-introspection+jwt',
  'dpop+jwt',
  'oauth-authz-req+jwt',
  'statuslist+jwt',
  'jwt',
  'JWT',
  'JOSE',
  'JOSE+JSON',
  'client-authentication+jwt',
  'rt+jwt',
  'vc+sd-jwt',
  'txntoken+jwt',
  'application/logout+jwt',
  'application/jwt',
]
const NEAR = [
  '',
  'at',
  'at+',
  '+jwt',
  'at jwt',
  'at-jwt',
  'at+jwt2',
  'xat+jwt',
  'at+jwt+jwt',
  'at+jwt,jwt',
  ' at+jwt',
  'at+jwt ',
  'at+jwt\n',
  'at+jwt; charset=utf-8',
  'application/at+jwt;v=1',
  'application/',
  'application/application/at+jwt',
  'text/at+jwt',
  '/at+jwt',
  'application//at+jwt',
  'application\\at+jwt',
  'applicatio\u0274/at+jwt',
  '\u0430t+jwt',
  'at\uff0bjwt',
  'at%2Bjwt',
  'at+JWS',
]
const SPELLINGS = [
  'at+jwt',
  'AT+JWT',
  'at+JWT',
  'At+Jwt',
  'application/at+jwt',
  'application/AT+JWT',
  'APPLICATION/at+jwt',
  'Application/At+Jwt',
]
const setClaims = {
  events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
  sid: 's',
  htm: 'GET',
  htu: 'https://api',
}

describe('attack 31: J15, 004-28: a token made for another purpose', () => {
  refuses(
    arena,
    spellings([...OTHERS, ...NEAR], (typ) => [
      `typ ${JSON.stringify(typ)}`,
      { header: { typ }, claims: setClaims },
      'typ_mismatch',
    ]),
  )
  admits(
    arena,
    SPELLINGS.map((typ) => [`typ ${typ}`, { header: { typ } }]),
  )
  admits(arena, [['an access token with claims of other tokens', { claims: setClaims }]])
})
