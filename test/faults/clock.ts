import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { forget, tempDirectory } from '../fixtures/process.ts'
import { replaceFile } from '../process/ground.ts'

// The wall clock of another process, moved by libfaketime (Debian: faketime). Its monotonic clock goes on as it is.

const LIBRARY = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu']
  .map((directory) => join(directory, 'faketime/libfaketime.so.1'))
  .find((file) => existsSync(file))

export const CLOCK_CAN_BE_MOVED = LIBRARY !== undefined

export interface MovedClock extends Disposable {
  // For the process whose clock it is.
  readonly env: Readonly<Record<string, string>>
  // From now on, so many seconds away from ours.
  step(seconds: number): void
}

export function openClock(): MovedClock {
  const directory = tempDirectory('clock')
  const file = join(directory, 'offset')
  // Never read half written.
  const step = (seconds: number) => replaceFile(file, `${seconds < 0 ? '' : '+'}${seconds}\n`)
  step(0)
  return {
    env: {
      LD_PRELOAD: LIBRARY ?? '',
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    },
    step,
    [Symbol.dispose]: () => forget(directory),
  }
}
