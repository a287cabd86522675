// The parts of a system, one a line.
import type { SystemStatus } from '../../api/status'
import { formatBytes, formatCount, formatDuration } from '../../ui/format'
import { Bad, Table } from '../../ui/Table'
import { lagOf, ownersOf } from './figures'

const UNKNOWN = '–'

export function Actors({ status }: { status: SystemStatus }) {
  const rows = Object.values(status.pool.actors).map((actor) => [
    actor.actor,
    actor.host ?? UNKNOWN,
    actor.vnodes.join(' ') || 'none',
    formatCount(lagOf(status, actor.vnodes)),
    actor.buffered_bytes === undefined ? UNKNOWN : formatBytes(actor.buffered_bytes),
    actor.oldest_s ? formatDuration(actor.oldest_s * 1_000) : UNKNOWN,
    formatCount(actor.counts?.rows_stored ?? 0),
    actor.trouble?.join('; ') ?? '',
  ])
  const head = ['Actor', 'Host', 'Virtual nodes', 'Lag', 'Buffered', 'Oldest', 'Rows stored', 'Trouble']
  return <Table label="Persist actors" head={head} rows={rows} />
}

export function Vnodes({ status }: { status: SystemStatus }) {
  const owners = ownersOf(status)
  const rows = Object.entries(status.log.vnodes).map(([vnode, { start, end, lag }]) => [
    vnode,
    owners.get(vnode) ?? <Bad>nobody</Bad>,
    formatCount(start),
    formatCount(end),
    formatCount(lag),
  ])
  return <Table label="Virtual nodes" head={['Virtual node', 'Owner', 'Log from', 'Log to', 'Lag']} rows={rows} />
}

export function Replicas({ replicas }: { replicas: SystemStatus['replicas'] }) {
  const rows = Object.entries(replicas).map(([name, states]) => [
    name,
    Object.entries(states)
      .map(([state, count]) => `${count} ${state.toLowerCase()}`)
      .join(', ') || 'none',
  ])
  return <Table label="Replicas" head={['Application', 'Replicas']} rows={rows} />
}

export function Nodes({ nodes }: { nodes: SystemStatus['nodes'] }) {
  const rows = nodes.map(({ host, alive, cpus, metrics }) => [
    host,
    alive ? 'alive' : <Bad>dead</Bad>,
    formatCount(cpus),
    metrics,
  ])
  return <Table label="Nodes" head={['Ray node', 'State', 'CPUs', 'Metrics']} rows={rows} />
}
