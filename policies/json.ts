// JSON of others, read without believing anything about its shape.
import { readFileSync } from 'node:fs'
import { BuildError } from './opa.ts'

export function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw new BuildError(`${file} is not JSON: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
}

/** The members of an object; none for anything else. */
export function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value))
    : {}
}
