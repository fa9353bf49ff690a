import { parseSidecarProfile, SIDECAR_PROFILE } from '../../../../contracts/crd/sidecar-profile.ts'
import type { Rows } from './row.ts'

const image = `registry.example:5000/portcullis/sidecar@sha256:${'0'.repeat(64)}`

export const SIDECAR_PROFILE_ROWS: Rows = {
  definition: SIDECAR_PROFILE,
  parse: parseSidecarProfile,
  sample: { image },
  defaulted: {
    image,
    imagePullPolicy: 'IfNotPresent',
    resources: { cpuRequest: '20m', cpuLimit: '1', memoryRequest: '96Mi', memoryLimit: '192Mi' },
    leases: { strict: '5s', standard: '60s', readDegraded: '15m' },
    decisionLog: 'On',
    checkPort: 7070,
    adminPort: 9090,
  },
  accepted: [
    { name: 'a tag beside the digest', change: { image: `a/b:v1@sha256:${'f'.repeat(64)}` } },
    { name: 'an image that is there', change: { imagePullPolicy: 'Never' } },
    { name: 'more resources', change: { resources: { cpuLimit: '1500m', memoryLimit: '1Gi' } } },
    { name: 'requests equal to limits', change: { resources: { cpuRequest: '1', memoryRequest: '192Mi' } } },
    { name: 'equal leases', change: { leases: { strict: '60s', standard: '1m', readDegraded: '60s' } } },
    { name: 'no decision log', change: { decisionLog: 'Off' } },
    { name: 'the lowest port', change: { checkPort: 1024 } },
    { name: 'the highest port', change: { adminPort: 65_535 } },
  ],
  refused: [
    {
      name: 'an image by tag',
      change: { image: 'portcullis/sidecar:latest' },
      field: 'spec.image',
      says: 'must name the image by digest: NAME@sha256: and 64 hex digits',
    },
    {
      name: 'half a digest',
      change: { image: 'a@sha256:abc' },
      field: 'spec.image',
      says: 'must name the image by digest',
    },
    {
      name: 'an unknown pull policy',
      change: { imagePullPolicy: 'Sometimes' },
      field: 'spec.imagePullPolicy',
      says: 'must be one of IfNotPresent, Always, Never',
      server: 'supported values: "IfNotPresent", "Always", "Never"',
    },
    {
      name: 'CPU in words',
      change: { 'resources.cpuLimit': 'lots' },
      field: 'spec.resources.cpuLimit',
      says: 'must be an amount of CPU in whole or thousandths, such as 1 or 250m',
    },
    {
      name: 'memory in bytes',
      change: { 'resources.memoryLimit': '1000' },
      field: 'spec.resources.memoryLimit',
      says: 'must be an amount of memory in Mi or Gi, such as 192Mi',
    },
    {
      name: 'a CPU request above the limit',
      change: { 'resources.cpuRequest': '1001m' },
      field: 'spec.resources.cpuRequest',
      says: 'must be at most cpuLimit: lower it, or raise cpuLimit',
    },
    {
      name: 'a memory request above the limit',
      change: { 'resources.memoryRequest': '1Gi' },
      field: 'spec.resources.memoryRequest',
      says: 'must be at most memoryLimit',
    },
    {
      name: 'a standard lease of an hour',
      change: { 'leases.standard': '1h' },
      field: 'spec.leases.standard',
      says: 'must be a duration from 5s to 10m, written such as 60s: a revoked token',
    },
    {
      name: 'a degraded lease of an hour',
      change: { 'leases.readDegraded': '1h' },
      field: 'spec.leases.readDegraded',
      says: 'must be a duration from 5s to 15m',
    },
    {
      name: 'a strict lease longer than the standard one',
      change: { leases: { strict: '30s', standard: '10s' } },
      field: 'spec.leases.strict',
      says: 'must be at most standard: a stricter route must not go on for longer',
    },
    {
      name: 'a standard lease longer than the degraded one',
      change: { leases: { standard: '5m', readDegraded: '4m' } },
      field: 'spec.leases.standard',
      says: 'must be at most readDegraded',
    },
    {
      name: 'a privileged port',
      change: { checkPort: 443 },
      field: 'spec.checkPort',
      says: 'must be at least 1024',
      server: 'should be greater than or equal to 1024',
    },
    {
      name: 'a port beyond the last',
      change: { adminPort: 65_536 },
      field: 'spec.adminPort',
      says: 'must be at most 65535',
      server: 'should be less than or equal to 65535',
    },
    {
      name: 'one port for both',
      change: { adminPort: 7070 },
      field: 'spec.adminPort',
      says: 'must differ from checkPort: give one of them another number',
    },
  ],
  frozen: [],
  status: {
    pods: { injected: 3, missing: 1, outdated: 0 },
    missingSample: ['shop/old-1'],
    injection: {
      image,
      args: ['--config', ''],
      trustAnchors: ['-----BEGIN CERTIFICATE-----'],
      env: ['PORTCULLIS_CONFIG'],
    },
  },
  columns: ['NAME', 'READY', 'INJECTED', 'MISSING', 'OUTDATED', 'AGE'],
}
