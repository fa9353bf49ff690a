import { NAMESPACE, type World } from './world.ts'

/** One line of spiffe-probe: `event`, and what belongs to it. */
export interface ProbeLine {
  readonly event: string
  readonly message?: string
  readonly id?: string
  readonly hint?: string
  readonly serial?: string
  readonly notBefore?: string
  readonly ok?: number
  readonly failed?: number
  readonly serials?: number
  readonly peerSerials?: number
  readonly peers?: readonly string[]
  readonly authorities?: number
  readonly keys?: number
  readonly audience?: readonly string[]
  readonly trustDomain?: string
}

/** What the container has printed since it began. */
export async function probeLines(world: World, pod: string): Promise<readonly ProbeLine[]> {
  const text = await world.kubectl(['logs', pod, '-n', NAMESPACE, '-c', 'app'])
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as ProbeLine)
}

export const eventsOf = (lines: readonly ProbeLine[], event: string): readonly ProbeLine[] =>
  lines.filter((line) => line.event === event)
