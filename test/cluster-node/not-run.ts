// A test that cannot run here says so, loudly; where it must run (continuous integration) that is a failure.

/**
 * For `describe.skipIf`: the reason given, printed. Throws it when PORTCULLIS_REQUIRE (project names, separated by
 * commas or blanks) names this project.
 */
export function notRun(project: string, file: string, reason: string | undefined): string | undefined {
  if (reason === undefined) return undefined
  const line = `NOT RUN ${file}: ${reason}`
  const required = (process.env['PORTCULLIS_REQUIRE'] ?? '').split(/[\s,]+/)
  if (required.includes(project)) throw new Error(`${line} (PORTCULLIS_REQUIRE says that it must)`)
  console.warn(line)
  return reason
}
