// Levels by severity: the name of their colour in tokens.css.
export type LevelTone = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'none'

const TONES: Record<string, LevelTone> = {
  TRACE: 'trace',
  DEBUG: 'debug',
  INFO: 'info',
  NOTICE: 'info',
  WARN: 'warn',
  ERROR: 'error',
  CRITICAL: 'fatal',
  ALERT: 'fatal',
  FATAL: 'fatal',
  EMERGENCY: 'fatal',
}

/** From the least severe: the order in which bars are stacked. */
export const TONE_ORDER: readonly LevelTone[] = ['none', 'trace', 'debug', 'info', 'warn', 'error', 'fatal']

export function toneOf(level: string | null): LevelTone {
  return TONES[level ?? ''] ?? 'none'
}
