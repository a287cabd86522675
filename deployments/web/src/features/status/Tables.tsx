// The parts of a system, one a line.
import type { ReactNode } from 'react'

import type { SystemStatus } from '../../api/status'
import { formatBytes, formatCount, formatDuration } from '../../ui/format'
import { lagOf, ownersOf } from './figures'
import styles from './Tables.module.css'

interface TableProps {
  label: string
  head: readonly string[]
  /** The first cell names the row. */
  rows: readonly (readonly ReactNode[])[]
}

function Table({ label, head, rows }: TableProps) {
  return (
    // Wider than a phone: it scrolls by itself, also with the keyboard.
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls has to take the focus
    <div className={styles.scroll} role="region" aria-label={label} tabIndex={0}>
      <table className={styles.table}>
        <thead>
          <tr>
            {head.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(([name, ...cells], row) => (
            <tr key={row}>
              <th scope="row">{name}</th>
              {cells.map((cell, at) => (
                <td key={at}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

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
    owners.get(vnode) ?? <span className={styles.bad}>nobody</span>,
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
    alive ? 'alive' : <span className={styles.bad}>dead</span>,
    formatCount(cpus),
    metrics,
  ])
  return <Table label="Nodes" head={['Ray node', 'State', 'CPUs', 'Metrics']} rows={rows} />
}
