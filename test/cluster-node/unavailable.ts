import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { onPath } from './tool.ts'

// Programs of the machine itself; test/toolchain/debian.sh installs them.
const PROGRAMS = [
  'ip',
  'nft',
  'flock',
  'unshare',
  'nsenter',
  'curl',
  'openssl',
  'unzip',
  'conntrack',
  'go',
] as const
const BRIDGE = '/usr/lib/cni/bridge'

/** Why a one-node cluster cannot run here; undefined when it can, as far as can be told without starting one. */
export function clusterUnavailable(): string | undefined {
  if (process.platform !== 'linux') return `needs Linux (this is ${process.platform})`
  if (process.getuid?.() !== 0) return 'needs root: it makes network interfaces, mounts and cgroups'
  const missing = PROGRAMS.filter((one) => !onPath(one))
  if (missing.length > 0) {
    return `needs ${missing.join(', ')} on PATH (test/toolchain/debian.sh installs all but Go)`
  }
  if (!works('test', ['-x', BRIDGE])) return `needs ${BRIDGE} (test/toolchain/debian.sh installs it)`
  const namespaces = ['--mount', '--pid', '--net', '--ipc', '--uts', '--cgroup', '--fork', '--', 'true']
  if (!works('unshare', namespaces)) return 'needs the right to make namespaces (unshare is refused here)'
  if (!works('unshare', ['--mount', '--fork', '--', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'])) {
    return 'needs the right to mount file systems in its own mount namespace'
  }
  if (!/^nodev\toverlay$/m.test(readFileSync('/proc/filesystems', 'utf8'))) {
    return works('modprobe', ['overlay']) ? undefined : 'needs overlayfs in the kernel'
  }
  return undefined
}

function works(program: string, args: readonly string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
