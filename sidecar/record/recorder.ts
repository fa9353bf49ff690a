import type { Decided } from '../decision.ts'
import type { FormatTime, Now } from '../ports.ts'
import { auditLine } from './audit.ts'
import type { LineLog } from './log.ts'
import type { Metrics } from './metrics.ts'

/** Records every decision exactly once: counted always, logged unless the configuration turned the decision log off. */
export function createRecorder(
  metrics: Metrics,
  log: Pick<LineLog, 'line'> | undefined,
  wall: Now,
  format: FormatTime,
): (decided: Decided) => void {
  const timestamp = createTimestamp(format)
  return (decided) => {
    metrics.count(decided)
    log?.line(auditLine(decided, timestamp(wall())))
  }
}

// Formatting a date costs as much as counting a decision; thousands of them share a millisecond.
function createTimestamp(format: FormatTime): FormatTime {
  let last = Number.NaN
  let formatted = ''
  return (at) => {
    if (at !== last) {
      last = at
      formatted = format(at)
    }
    return formatted
  }
}
