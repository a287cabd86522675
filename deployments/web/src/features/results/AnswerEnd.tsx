// What has to be said of an answer beside its rows: that it is incomplete, that it failed, that there is nothing.
import { isRefused } from '../../api/http'
import type { Hint } from '../../api/types'
import { Button } from '../../ui/Button'
import { formatCount } from '../../ui/format'
import { Empty, Notice } from '../../ui/Notice'
import { Text } from '../../ui/Text'
import { timeMs } from '../../view/time'
import type { View } from '../../view/view'
import { KeyNotice } from '../key/KeyNotice'
import styles from './AnswerEnd.module.css'
import { MAX_ROWS, type RunView } from './run'

export function AnswerNotices({ run, onAgain }: { run: RunView; onAgain: () => void }) {
  const { problem, running, state } = run
  const again = (
    <Button small onClick={onAgain}>
      Search again
    </Button>
  )
  if (problem && isRefused(problem)) return <KeyNotice problem={problem} action="search" scopes={['search']} />
  // A bad query is told where it is written.
  if (problem && problem.status !== 400) {
    return (
      <Notice kind="bad">
        <strong>{problem.title}.</strong> {problem.detail} {again}
      </Notice>
    )
  }
  if (running || state === null || problem || (run.incomplete.length === 0 && state.complete)) return null
  return (
    <Notice kind={state.state === 'failed' ? 'bad' : 'warn'}>
      <strong>{state.state === 'failed' ? 'The search failed.' : 'This answer is not complete.'}</strong>
      {run.incomplete.length > 0 && (
        <ul>
          {run.incomplete.map((why) => (
            <li key={why}>{why}</li>
          ))}
        </ul>
      )}
      {again}
    </Notice>
  )
}

interface AnswerEndProps {
  run: RunView
  view: View
  onChange: (part: Partial<View>) => void
}

export function AnswerEnd({ run, view, onChange }: AnswerEndProps) {
  if (run.problem?.status === 400) return <Empty title="The query cannot be run">What is wrong stands below it.</Empty>
  if (run.problem) return null
  if (run.running) {
    return run.count === 0 ? <Waiting /> : <p className={styles.end}>More may follow …</p>
  }
  if (run.hasMore) return <p className={styles.end}>Getting more …</p>
  if (run.count >= MAX_ROWS) {
    return (
      <p className={styles.end}>
        {formatCount(MAX_ROWS)} rows are as many as this page keeps. Narrow the query or the time range to see the
        others.
      </p>
    )
  }
  if (run.count > 0) return <p className={styles.end}>That is all in this time range.</p>
  const { complete = false, hints = [] } = run.state ?? {}
  return <Nothing view={view} complete={complete} hints={hints} onChange={onChange} />
}

/** What to look in when there is nothing in less. */
const LONGER = [
  { start: '-1d', label: 'Last day' },
  { start: '-7d', label: 'Last 7 days' },
  { start: '-30d', label: 'Last 30 days' },
  { start: '-365d', label: 'Last 365 days' },
] as const

interface NothingProps extends Pick<AnswerEndProps, 'view' | 'onChange'> {
  complete: boolean
  hints: readonly Hint[]
}

function Nothing({ view, complete, hints, onChange }: NothingProps) {
  const now = Date.now()
  const startMs = timeMs(view.start, now)
  const longer = LONGER.filter(({ start }) => startMs === null || (timeMs(start, now) ?? now) < startMs)
  return (
    <Empty title={complete ? 'Nothing matches in this time range' : 'Nothing was found'}>
      {hints.length > 0 && <Hints hints={hints} onChange={onChange} />}
      {hints.length === 0 && view.query.trim() !== '' && (
        <p>A word less finds more. Words are found in any case, “phrases” exactly.</p>
      )}
      {longer.length > 0 && (
        <p className={styles.choices}>
          {longer.map(({ start, label }) => (
            <Button key={start} onClick={() => onChange({ start, end: null })}>
              {label}
            </Button>
          ))}
        </p>
      )}
    </Empty>
  )
}

/** What the server says of an answer without rows, each with what it would try instead. */
function Hints({ hints, onChange }: Pick<NothingProps, 'hints' | 'onChange'>) {
  return (
    <ul className={styles.hints} aria-label="Hints">
      {hints.map(({ text, query, start }) => (
        <li key={`${text} ${query ?? ''}`}>
          <Text text={text} />
          {(query !== null || start !== null) && (
            <Button
              small
              onClick={() =>
                onChange({ ...(query === null ? {} : { query }), ...(start === null ? {} : { start, end: null }) })
              }
            >
              {query === null ? 'Look there' : <Text text={query} />}
            </Button>
          )}
        </li>
      ))}
    </ul>
  )
}

/** Rows to come, drawn faintly. */
function Waiting() {
  return (
    <div className={styles.waiting} aria-hidden="true">
      {Array.from({ length: 8 }, (_, at) => (
        <span key={at} />
      ))}
    </div>
  )
}
