// Where the answer stands, and how its rows are shown.
import type { ReactNode } from 'react'

import type { AnswerState } from '../../api/types'
import { Button, IconButton } from '../../ui/Button'
import { formatBytes, formatCount, formatDuration, formatUsd } from '../../ui/format'
import { Icon } from '../../ui/Icon'
import { Menu, MenuCheck, MenuLabel } from '../../ui/Menu'
import { useShortcuts } from '../../ui/shortcuts'
import { formatRowTime } from '../../view/time'
import type { View } from '../../view/view'
import { attributeName } from '../row/fields'
import styles from './ResultBar.module.css'
import type { RunView } from './run'

interface ResultBarProps {
  run: RunView
  view: View
  onChange: (part: Partial<View>) => void
  /** What else can be done with the answer. */
  children?: ReactNode
}

export function ResultBar({ run, view, onChange, children }: ResultBarProps) {
  const flip = () => onChange({ order: view.order === 'newest' ? 'oldest' : 'newest' })
  useShortcuts({ w: () => onChange({ wrap: !view.wrap }), o: flip })
  return (
    <div className={styles.bar}>
      <Progress run={run} />
      <p className={styles.text}>
        <strong>{headline(run)}</strong> <Facts run={run} view={view} />
      </p>
      {/* Read out when a search begins and ends, not with every row. */}
      <p className="quiet" role="status">
        {run.running ? 'Searching' : headline(run)}
      </p>
      <div className={styles.tools}>
        {children}
        <Button small title="Turn the order (o)" onClick={flip}>
          <Icon name="sort" size={14} /> {view.order === 'newest' ? 'Newest first' : 'Oldest first'}
        </Button>
        <IconButton
          small
          icon="wrap"
          label="Wrap long messages (w)"
          aria-pressed={view.wrap}
          onClick={() => onChange({ wrap: !view.wrap })}
        />
        <ColumnsMenu run={run} view={view} onChange={onChange} />
      </div>
    </div>
  )
}

function headline({ running, count, state, hasMore, problem }: RunView): string {
  const rows = `${formatCount(count)}${hasMore ? '+' : ''} ${count === 1 ? 'row' : 'rows'}`
  if (running && state?.state === 'queued') return `Waiting, place ${state.position ?? 1} of this tenant's searches …`
  if (running) return count === 0 ? 'Searching …' : `${rows} so far …`
  if (problem) return count === 0 ? 'No answer' : `${rows}, then it failed`
  if (state?.state === 'cancelled') return `${rows}, stopped`
  if (state?.state === 'failed') return `${rows}, then it failed`
  return rows
}

function Facts({ run, view }: { run: RunView; view: View }) {
  const { state } = run
  if (state === null) return null
  return <span className={styles.facts}>{facts(state, run.running, view).join(' · ')}</span>
}

/** What a person wants to know of the work: how far, how much, how long, by whom, at what price. */
export function facts({ progress, elapsed_ms, state }: AnswerState, running: boolean, view: View): string[] {
  const looked = progress.objects_done + progress.objects_failed
  const cost = progress.estimated_cost_usd ?? 0
  const invocations = progress.invocations ?? 0
  return [
    `${formatCount(looked)} of ${formatCount(progress.objects_total)} objects`,
    progress.objects_pruned > 0 ? `${formatCount(progress.objects_pruned)} ruled out` : '',
    `${formatBytes(progress.bytes_read)} read`,
    progress.in_flight_rows > 0 ? `${formatCount(progress.in_flight_rows)} not stored yet` : '',
    progress.duplicates_suppressed > 0 ? `${formatCount(progress.duplicates_suppressed)} repeats left out` : '',
    state === 'truncated' ? 'cut at the size that an answer may have' : '',
    running && progress.complete_from !== null
      ? `final ${view.order === 'newest' ? 'down' : 'up'} to ${formatRowTime(progress.complete_from, view.zone)}`
      : '',
    invocations > 0 ? `Lambda: ${formatCount(invocations)} invocations` : view.executor === 'ray' ? 'Ray' : '',
    cost > 0 ? formatUsd(cost) : '',
    formatDuration(elapsed_ms),
  ].filter((fact) => fact !== '')
}

function Progress({ run }: { run: RunView }) {
  if (!run.running) return null
  const progress = run.state?.progress
  const total = progress?.objects_total ?? 0
  const done = total === 0 ? undefined : ((progress?.objects_done ?? 0) + (progress?.objects_failed ?? 0)) / total
  return <progress className={styles.progress} aria-label="Objects looked at" max={1} value={done} />
}

/** Columns that most events have. Any other field becomes one from an opened event. */
const USUAL_COLUMNS = ['service', 'host', 'trace_id', 'span_id', 'id', 'severity_number']

function ColumnsMenu({ run, view, onChange }: Pick<ResultBarProps, 'run' | 'view' | 'onChange'>) {
  const found = Object.keys(run.rows[0]?.attributes ?? {})
    .map(attributeName)
    .sort()
  const names = [...new Set([...view.columns, ...USUAL_COLUMNS, ...found])].filter((name) => !name.includes(','))
  const set = (name: string, shown: boolean) =>
    onChange({ columns: shown ? [...view.columns, name] : view.columns.filter((other) => other !== name) })
  return (
    <Menu trigger={<IconButton small icon="columns" label="Columns" />}>
      <MenuLabel>Columns beside time, level and message</MenuLabel>
      {names.map((name) => (
        <MenuCheck key={name} checked={view.columns.includes(name)} onChange={(shown) => set(name, shown)}>
          {name}
        </MenuCheck>
      ))}
    </Menu>
  )
}
