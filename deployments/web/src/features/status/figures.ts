// Sums over the parts of a status.
import type { ActorStatus, SystemStatus } from '../../api/status'

/** Records that are in the log and not stored: of all virtual nodes, or of these. */
export function lagOf({ log }: SystemStatus, vnodes: readonly number[] | null = null): number {
  const names = vnodes === null ? Object.keys(log.vnodes) : vnodes.map(String)
  return names.reduce((sum, name) => sum + (log.vnodes[name]?.lag ?? 0), 0)
}

/** The age of the oldest event that is buffered; 0: there is none. */
export function oldestS(actors: readonly ActorStatus[]): number {
  return Math.max(0, ...actors.map(({ oldest_s }) => oldest_s ?? 0))
}

export function replicasOf(replicas: SystemStatus['replicas']): { running: number; others: number } {
  let running = 0
  let others = 0
  for (const states of Object.values(replicas)) {
    for (const [state, count] of Object.entries(states)) {
      if (state === 'RUNNING') running += count
      else others += count
    }
  }
  return { running, others }
}

/** The actor that owns each virtual node; none: nobody does just now. */
export function ownersOf({ pool }: SystemStatus): Map<string, string> {
  return new Map(
    Object.values(pool.actors).flatMap(({ actor, vnodes }) =>
      vnodes.map((vnode): [string, string] => [String(vnode), actor]),
    ),
  )
}
