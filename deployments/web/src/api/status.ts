// How the system is, for keys of scope admin. What the page does not show is left out here.
import { sendJson } from './http'

export interface VnodeStatus {
  start: number
  end: number
  /** Records that are in the log and not stored yet. */
  lag: number
}

export interface ActorStatus {
  actor: string
  vnodes: number[]
  /** From here on absent until the actor has first answered. */
  host?: string
  pid?: number
  buffered_bytes?: number
  oldest_s?: number
  counts?: Record<string, number>
  trouble?: string[]
}

export interface SystemStatus {
  log: {
    kind: 'sqlite' | 'kafka'
    brokers: string | null
    log_id: string
    lag_records: number
    backlog_bytes: number | null
    /** By number, as text. */
    vnodes: Record<string, VnodeStatus>
  }
  pool: {
    wanted: number
    /** Over the last seconds; absent until a supervisor of this version has answered. */
    events_per_s?: number
    actors: Record<string, ActorStatus>
    deaths: string[]
    maintenance: Record<string, unknown>
  }
  dashboard: string | null
  nodes: { node: string; host: string; alive: boolean; cpus: number; metrics: string }[]
  /** By application: how many replicas are in which state. */
  replicas: Record<string, Record<string, number>>
  results: 'memory' | 'redis'
  table: { version: number; objects: number; rows: number; bytes: number }
  problems: string[]
  warnings: string[]
}

export function getStatus(signal: AbortSignal): Promise<SystemStatus> {
  return sendJson('/search/v1/status', { signal })
}
