import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { readBounded } from '../../../sidecar/feed/bounded-file.ts'
import { readBundle } from '../../../sidecar/feed/bundle-files.ts'
import { forget, tempDirectory } from '../../fixtures/process.ts'

const directory = tempDirectory('bounded')
afterAll(() => forget(directory))

test.each([
  [9, true],
  [10, true],
  [11, false],
])('a file of %i bytes where 10 are allowed is read: %s', async (length, read) => {
  const path = join(directory, `of-${length}`)
  writeFileSync(path, 'x'.repeat(length))
  const content = await readBounded(path, 10).catch((cause: Error) => cause.message)
  expect(content).toEqual(
    read ? Buffer.from('x'.repeat(length)) : expect.stringContaining('larger than the 10 bytes'),
  )
})

test('a device that never ends is no file', async () => {
  await expect(readBounded('/dev/zero', 10)).rejects.toThrow('/dev/zero: not a regular file')
  await expect(readBundle('/dev/zero')).rejects.toThrow('not a regular file')
})

test('a pipe that nobody writes to is no file, and is not waited for', async () => {
  const path = join(directory, 'pipe')
  execFileSync('mkfifo', [path])
  await expect(readBounded(path, 10)).rejects.toThrow('not a regular file')
})
