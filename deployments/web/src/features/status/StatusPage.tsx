// How the system is: asked every few seconds, and marked as old when the answers stop coming.
import { usePolled } from '../../api/polled'
import { getStatus, type SystemStatus } from '../../api/status'
import { formatBytes, formatCount, formatDuration } from '../../ui/format'
import { Notice } from '../../ui/Notice'
import { PolledPage } from '../polled/PolledPage'
import { lagOf, oldestS, replicasOf } from './figures'
import { Actors, Nodes, Replicas, Vnodes } from './Tables'
import styles from './StatusPage.module.css'

const ASK_MS = 3_000

export default function StatusPage() {
  const asked = usePolled('status', getStatus, ASK_MS)
  const wanted = {
    action: 'see the status',
    scopes: ['admin', 'search'] as const,
    more: 'The status tells of all tenants.',
  }
  return (
    <PolledPage title="Status" asked={asked} wanted={wanted}>
      {(status) => <Shown status={status} />}
    </PolledPage>
  )
}

function Shown({ status }: { status: SystemStatus }) {
  return (
    <>
      <Health status={status} />
      <Figures status={status} />
      <h2>Persist actors</h2>
      <Actors status={status} />
      <h2>Virtual nodes</h2>
      <Vnodes status={status} />
      <h2>Replicas</h2>
      <Replicas replicas={status.replicas} />
      <h2>Nodes</h2>
      <Nodes nodes={status.nodes} />
      <Dashboard address={status.dashboard} />
    </>
  )
}

function Health({ status: { problems, warnings, pool } }: { status: SystemStatus }) {
  return (
    <div className={styles.health}>
      {problems.length === 0 && <p className={styles.well}>Complete answers are possible, and events are stored.</p>}
      {problems.length > 0 && (
        <Notice kind="bad">
          <strong>Not healthy.</strong>
          <Lines lines={problems} />
        </Notice>
      )}
      {warnings.length > 0 && (
        <Notice kind="warn">
          <Lines lines={warnings} />
        </Notice>
      )}
      {pool.deaths.length > 0 && (
        <Notice kind="note">
          Lately ended, and started anew:
          <Lines lines={pool.deaths} />
        </Notice>
      )}
    </div>
  )
}

function Lines({ lines }: { lines: string[] }) {
  return (
    <ul>
      {lines.map((line, at) => (
        <li key={at}>{line}</li>
      ))}
    </ul>
  )
}

function Figures({ status }: { status: SystemStatus }) {
  const { log, table, pool } = status
  const actors = Object.values(pool.actors)
  const buffered = actors.reduce((sum, { buffered_bytes }) => sum + (buffered_bytes ?? 0), 0)
  const replicas = replicasOf(status.replicas)
  const figures: [string, string, string][] = [
    [
      'Events a second',
      pool.events_per_s === undefined ? 'unknown' : formatCount(Math.round(pool.events_per_s)),
      'just now',
    ],
    ['Not stored yet', `${formatCount(log.lag_records)} records`, `${formatBytes(buffered)} buffered, searchable`],
    ['Oldest buffered', oldestS(actors) === 0 ? 'nothing' : formatDuration(oldestS(actors) * 1_000), 'stored at 30 s'],
    ['Objects', formatCount(table.objects), `${formatBytes(table.bytes)}, table version ${formatCount(table.version)}`],
    ['Stored events', formatCount(table.rows), lagOf(status) === 0 ? 'all of the log' : 'the log has more'],
    ['Event log', log.kind === 'kafka' ? 'Kafka' : 'SQLite', logDetail(status)],
    ['Persist actors', `${actors.length} of ${pool.wanted}`, `${Object.keys(log.vnodes).length} virtual nodes`],
    ['Replicas', `${replicas.running} running`, replicas.others === 0 ? 'all' : `${replicas.others} others`],
    ['Answers are kept in', status.results === 'redis' ? 'Redis' : 'memory', ''],
  ]
  return (
    <dl className={styles.figures}>
      {figures.map(([name, value, note]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
          <dd className={styles.note}>{note}</dd>
        </div>
      ))}
    </dl>
  )
}

function logDetail({ log }: SystemStatus): string {
  if (log.brokers !== null) return log.brokers
  return log.backlog_bytes === null ? '' : `${formatBytes(log.backlog_bytes)} waiting in it`
}

/** An address of the cluster's own: it may need a tunnel from where the browser is. */
function Dashboard({ address }: { address: string | null }) {
  if (address === null || !/^https?:\/\//.test(address)) return <p>Ray’s dashboard is not running.</p>
  return (
    <p>
      <a href={address} target="_blank" rel="noreferrer">
        Ray’s dashboard
      </a>{' '}
      <span className={styles.note}>
        ({address}, as the cluster reaches it; <code>ess up</code> names the file with its token)
      </span>
    </p>
  )
}
