// A query with stages behind it: the question, and its table.
import { useCallback, useState } from 'react'

import { formatCount } from '../../ui/format'
import { useShortcuts } from '../../ui/shortcuts'
import type { View } from '../../view/view'
import { AnswerEnd, AnswerNotices } from '../results/AnswerEnd'
import { facts } from '../results/ResultBar'
import type { RunView } from '../results/run'
import { SearchBar } from '../search-bar/SearchBar'
import { MAX_SHOWN, PipeTable } from './PipeTable'
import styles from './PipeTable.module.css'
import { usePipe, type PipeView } from './usePipe'

interface PipeSearchProps {
  view: View
  onChange: (part: Partial<View>) => void
}

export function PipeSearch({ view, onChange }: PipeSearchProps) {
  const [round, setRound] = useState(0)
  const again = useCallback(() => setRound((before) => before + 1), [])
  const [pipe, stop] = usePipe(view, round)
  useShortcuts({ Escape: stop })
  return (
    <>
      <SearchBar
        view={view}
        onChange={onChange}
        onAgain={again}
        running={pipe.running}
        onCancel={stop}
        problem={pipe.problem}
      />
      <PipeAnswer pipe={pipe} view={view} onChange={onChange} onAgain={again} />
    </>
  )
}

export function PipeAnswer({
  pipe,
  view,
  onChange,
  onAgain,
}: PipeSearchProps & { pipe: PipeView; onAgain: () => void }) {
  const { state, running } = pipe
  const { columns = [], rows = [] } = state ?? {}
  const run = runOf(pipe)
  return (
    <div className={styles.answer}>
      <p className={styles.bar}>
        <strong>{headline(pipe)}</strong>
        {state && <span className={styles.facts}>{facts(state, running, view).join(' · ')}</span>}
      </p>
      <p className="quiet" role="status">
        {running ? 'Counting' : headline(pipe)}
      </p>
      <AnswerNotices run={run} onAgain={onAgain} />
      {rows.length > 0 ? (
        <PipeTable columns={columns} rows={rows} view={view} />
      ) : (
        <AnswerEnd run={run} view={view} onChange={onChange} />
      )}
    </div>
  )
}

/** How much there is to see. */
export function headline({ state, running, problem }: PipeView): string {
  if (running && state?.state === 'queued') return `Waiting, place ${state.position ?? 1} of this tenant's searches …`
  const count = state?.rows?.length ?? 0
  if (count === 0) return running ? 'Counting …' : problem ? 'No answer' : 'No rows'
  const shown = count > MAX_SHOWN ? `the first ${formatCount(MAX_SHOWN)} are shown` : ''
  const told = `${formatCount(state?.rows_total ?? count)} ${count === 1 ? 'row' : 'rows'}`
  return [running ? `${told} so far …` : told, shown].filter((part) => part !== '').join(', ')
}

/** What a search for rows would tell of itself, so that it is told in the same words. */
function runOf({ state, running, problem }: PipeView): RunView {
  return {
    rows: [],
    count: state?.rows?.length ?? 0,
    state,
    queryId: state?.id ?? null,
    firstId: state?.id ?? null,
    running,
    hasMore: false,
    incomplete: running ? [] : (state?.incomplete ?? []),
    problem,
  }
}
