// How a tail is: live or not, how much comes, how much of it is not shown, how far behind it is.
import { isRefused } from '../../api/http'
import { Button, IconButton } from '../../ui/Button'
import { formatCount } from '../../ui/format'
import { Notice } from '../../ui/Notice'
import type { View } from '../../view/view'
import { KeyNotice } from '../key/KeyNotice'
import { MAX_TAIL_ROWS } from './buffer'
import type { TailView } from './session'
import styles from './TailState.module.css'

const PHASES = {
  connecting: 'Connecting …',
  live: 'Live',
  reconnecting: 'Connecting again …',
  stopped: 'Stopped',
  failed: 'Ended',
} as const

interface TailStateProps {
  tail: TailView
  held: boolean
  view: View
  onChange: (part: Partial<View>) => void
}

export function TailState({ tail, held, view, onChange }: TailStateProps) {
  const isHeld = held && tail.phase === 'live'
  return (
    <div className={styles.state}>
      <span className={styles.phase} data-phase={isHeld ? 'held' : tail.phase} role="status">
        {isHeld ? 'Paused' : PHASES[tail.phase]}
      </span>
      <p className={styles.text}>{figures(tail).join(' · ')}</p>
      <IconButton
        small
        icon="wrap"
        label="Wrap long messages (w)"
        aria-pressed={view.wrap}
        onClick={() => onChange({ wrap: !view.wrap })}
      />
    </div>
  )
}

export function figures({ phase, progress, rows, letGo, waiting }: TailView): string[] {
  const { rate_per_s, lag_records, matched, skipped, duplicates_suppressed } = progress
  const count = (number: number, text: string) => (number === 0 ? '' : `${formatCount(number)} ${text}`)
  return [
    phase === 'live' ? `${formatCount(rate_per_s)} matches a second` : '',
    phase === 'live' ? (lag_records === 0 ? 'nothing unread' : `${formatCount(lag_records)} records not read yet`) : '',
    `${formatCount(matched)} matched`,
    `${formatCount(rows.length)} here`,
    count(waiting, 'waiting'),
    count(skipped, 'skipped'),
    count(duplicates_suppressed, 'repeats left out'),
    count(letGo, `older ones let go (this page keeps ${formatCount(MAX_TAIL_ROWS)})`),
  ].filter((figure) => figure !== '')
}

export function TailNotices({ tail, onAgain }: { tail: TailView; onAgain: () => void }) {
  const { phase, problem, progress } = tail
  return (
    <>
      {phase === 'failed' && problem && <KeyNotice problem={problem} action="follow events" scopes={['search']} />}
      {phase === 'failed' && problem && !isRefused(problem) && (
        <Notice kind="bad">
          <strong>{problem.title}.</strong> {problem.detail} {/* A query is put right where it is written. */}
          {problem.position === undefined && (
            <Button small onClick={onAgain}>
              Start from now on
            </Button>
          )}
        </Notice>
      )}
      {phase === 'reconnecting' && problem && (
        <Notice kind="warn">
          {problem.message} It is tried again, and goes on behind the last row: nothing is missed within an hour.
        </Notice>
      )}
      {progress.skipped > 0 && (
        <Notice kind="warn">
          {formatCount(progress.skipped)} events matched and were skipped: more came than anybody can read. A narrower
          query shows all of its events; a search finds those that were skipped.
        </Notice>
      )}
      {phase === 'live' && progress.incomplete.length > 0 && (
        <Notice kind="warn">
          <strong>Not everything can be shown just now.</strong>
          <ul>
            {progress.incomplete.map((why) => (
              <li key={why}>{why}</li>
            ))}
          </ul>
        </Notice>
      )}
    </>
  )
}
