// Alerts: rules and what they came to, and silences.
import { sendJson } from './http'

export type AlertState = 'firing' | 'pending' | 'resolved'

export interface Alert {
  group: string
  labels: Record<string, string>
  annotations: Record<string, string>
  state: AlertState
  /** Null: there was no data, which the rule takes for an alert. */
  value: number | null
  /** Finds its rows, of any time; null: its rule is no more. */
  query: string | null
  active_at: string
  starts_at: string | null
  ends_at: string | null
  fingerprint: string
  /** Ids of silences. */
  silenced_by: string[]
}

export interface Evaluation {
  at: string
  arrived_from: string
  arrived_until: string
  /** One that was not changes nothing. */
  complete: boolean
  incomplete: string[]
  notes: string[]
}

export interface AlertRule {
  alert: string
  expr: string
  condition?: string
  last_evaluation: Evaluation | null
}

export interface AlertGroup {
  name: string
  interval: string | null
  rules: AlertRule[]
  /** What cannot be read of it any more. */
  flaw: string | null
}

export interface Silence {
  id: string
  /** Its matchers, as they are typed. */
  text: string
  starts_at: string
  ends_at: string
  active: boolean
  comment: string
  created_by: string
}

export interface Alerts {
  alerts: Alert[]
  groups: AlertGroup[]
  receivers: string[]
  silences: Silence[]
}

export interface SilenceBody {
  matchers: string
  /** `2h` */
  for: string
  comment: string
}

const SILENCES = '/search/v1/alerts/silences'

export async function getAlerts(signal: AbortSignal): Promise<Alerts> {
  const [alerts, silences] = await Promise.all([
    sendJson<Omit<Alerts, 'silences'>>('/search/v1/alerts', { signal }),
    sendJson<Pick<Alerts, 'silences'>>(SILENCES, { signal }),
  ])
  return { ...alerts, ...silences }
}

export function makeSilence(body: SilenceBody): Promise<Silence> {
  return sendJson(SILENCES, { method: 'POST', body })
}

export function endSilence(id: string): Promise<Silence> {
  return sendJson(`${SILENCES}/${encodeURIComponent(id)}`, { method: 'DELETE' })
}

/** Give the labels that an alert has, in an order that does not depend on who sent them. */
export function labelsOf(labels: Record<string, string>): [string, string][] {
  return Object.entries(labels)
    .filter(([, value]) => value !== '')
    .sort(([one], [other]) => (one < other ? -1 : 1))
}

/** Write the matchers that cover an alert, and no other one of its rule. */
export function matchersOf(labels: Record<string, string>): string {
  return labelsOf(labels)
    .map(([name, value]) => `${name}="${value.replace(/[\\"]/g, '\\$&')}"`)
    .join(', ')
}
