import { aboutOf, subjectValue } from '../../contracts/fingerprint.ts'
import type { Revocation, Revocations } from '../../contracts/gen/portcullis/feed/v1/feed.ts'

export const REVOCATION_LIMITS = {
  /** Entries that are held at once; those of them that people made, and their text. */
  entries: 1_000_000,
  named: 100_000,
  characters: 16 * 1024 * 1024,
  perMessage: 4096,
  id: 128,
  issuer: 512,
  /** `namespace/name`: 63 + 1 + 253 characters, and a little. */
  source: 320,
  value: 512,
  /** Text of one message when we tell what we hold. */
  partCharacters: 512 * 1024,
  problems: 8,
} as const

export type RevocationKind = NonNullable<Revocation['subject']>['$case']

/** What is wrong with the form of a message; one bad entry spoils it, because a deny fact must not be lost in silence. */
export function problemsOf({ entries, removed }: Revocations): readonly string[] {
  const { perMessage, id, problems: most } = REVOCATION_LIMITS
  if (entries.length > perMessage || removed.length > 10 * perMessage)
    return [`entries: at most ${perMessage} in one message`]
  const problems: string[] = []
  for (const [index, entry] of entries.entries()) {
    const problem = problemOf(entry)
    if (problem) problems.push(`entries[${index}].${problem}`)
    if (problems.length >= most) return problems
  }
  if (!removed.every((one) => isText(one, id))) problems.push(`removed: must be 1 to ${id} characters each`)
  return problems
}

function problemOf(entry: Revocation): string | undefined {
  const { id, issuer, source, subject, issuedBeforeMs, expiresAtMs } = entry
  if (!isText(id, REVOCATION_LIMITS.id)) return `id: must be 1 to ${REVOCATION_LIMITS.id} characters`
  if (!isText(issuer, REVOCATION_LIMITS.issuer))
    return `issuer: must be 1 to ${REVOCATION_LIMITS.issuer} characters`
  if (source.length > REVOCATION_LIMITS.source)
    return `source: must be at most ${REVOCATION_LIMITS.source} characters`
  if (expiresAtMs === 0) return 'expires_at_ms: must not be 0'
  if (!subject) return 'subject: unset, or of a kind that this version does not know'
  if (subject.$case === 'everything') {
    return subject.everything && issuedBeforeMs > 0
      ? undefined
      : 'everything: must be true and needs issued_before_ms'
  }
  if (subject.$case === 'fingerprint') {
    return aboutOf(entry) ? undefined : 'fingerprint: of an unknown kind, or not what its id follows from'
  }
  return isText(subjectValue(subject), REVOCATION_LIMITS.value)
    ? undefined
    : `${subject.$case}: must be 1 to ${REVOCATION_LIMITS.value} characters`
}

function isText(text: string, longest: number): boolean {
  return text.length > 0 && text.length <= longest
}
