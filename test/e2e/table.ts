/** Rows of what was seen, with measured seconds; printed once at the end. */
export interface Table {
  row(step: string, seconds: number | undefined, seen: string): void
  print(): void
}

export function createTable(title: string): Table {
  const rows: (readonly [string, string, string])[] = []
  return {
    row: (step, seconds, seen) =>
      void rows.push([step, seconds === undefined ? '' : seconds.toFixed(2), seen]),
    print() {
      const wide = Math.max(...rows.map(([step]) => step.length), 4)
      const lines = rows.map(
        ([step, seconds, seen]) => `${step.padEnd(wide)}  ${seconds.padStart(7)}  ${seen}`,
      )
      process.stdout.write(`\n${title}\n${'step'.padEnd(wide)}  seconds  seen\n${lines.join('\n')}\n\n`)
    },
  }
}
