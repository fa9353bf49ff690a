// Writes tar archives that tar itself would not.

export interface Entry {
  readonly name: string
  readonly prefix?: string
  readonly content?: string
  readonly flag?: string
  readonly link?: string
  /** In place of the right ones. */
  readonly size?: string
  readonly checksum?: string
}

const BLOCK = 512

export function archive(entries: readonly Entry[]): Buffer {
  const blocks = entries.flatMap((entry) => {
    const content = Buffer.from(entry.content ?? '')
    return [header(entry), content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)]
  })
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)])
}

export function header({
  name,
  prefix = '',
  content = '',
  flag = '0',
  link = '',
  size,
  checksum,
}: Entry): Buffer {
  const block = Buffer.alloc(BLOCK)
  const put = (text: string, offset: number) => block.write(text, offset, 'latin1')
  put(name, 0)
  put('0000644', 100)
  put('0000000', 108)
  put('0000000', 116)
  put(size ?? octal(Buffer.byteLength(content), 11), 124)
  put('00000000000', 136)
  put(' '.repeat(8), 148)
  put(flag, 156)
  put(link, 157)
  put('ustar\x0000', 257)
  put(prefix, 345)
  const sum = block.reduce((total, byte) => total + byte, 0)
  put(`${checksum ?? octal(sum, 6)}\0 `, 148)
  return block
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0')
}
