// The search page: a question, its counts over time, its rows; or, of a query with stages, its table.
import { useCallback, useState } from 'react'

import { pipeAt } from '../../query/pipe'
import { Button } from '../../ui/Button'
import { Icon } from '../../ui/Icon'
import { useShortcuts } from '../../ui/shortcuts'
import { useView, type View } from '../../view/view'
import { LargePlan } from '../explain/LargePlan'
import { useGate } from '../explain/useGate'
import { DownloadMenu } from '../export/DownloadMenu'
import { FieldsSide } from '../fields/FieldsSide'
import { useFieldsOpen } from '../fields/useFieldsOpen'
import { Histogram } from '../histogram/Histogram'
import { PipeSearch } from '../pipe/PipeSearch'
import { AnswerEnd, AnswerNotices } from '../results/AnswerEnd'
import { ResultBar } from '../results/ResultBar'
import { ResultList } from '../results/ResultList'
import { useRun } from '../results/useRun'
import { SearchBar } from '../search-bar/SearchBar'
import styles from './SearchPage.module.css'

export function SearchPage() {
  const [view, change] = useView()
  return (
    <>
      <h1 className="quiet">Search</h1>
      {pipeAt(view.query) === null ? (
        <RowSearch view={view} change={change} />
      ) : (
        <PipeSearch view={view} onChange={change} />
      )}
    </>
  )
}

function RowSearch({ view, change }: { view: View; change: (part: Partial<View>) => void }) {
  const [round, setRound] = useState(0)
  const again = useCallback(() => setRound((before) => before + 1), [])
  const gate = useGate(view, round)
  const [run, search] = useRun(view, round, gate.open)
  const [fieldsOpen, setFieldsOpen] = useFieldsOpen()
  const cancel = () => void search.cancel()
  const more = useCallback(() => search.more(), [search])
  useShortcuts({ Escape: cancel, f: () => setFieldsOpen(!fieldsOpen) })
  return (
    <>
      <SearchBar
        view={view}
        onChange={change}
        onAgain={again}
        running={run.running && gate.held === null}
        onCancel={cancel}
        problem={run.problem}
      />
      {gate.held ? (
        <LargePlan plan={gate.held} view={view} onRun={gate.release} onChange={change} />
      ) : (
        <>
          <Histogram view={view} round={round} mayRun={gate.open} onChange={change} />
          <div className={styles.below}>
            {fieldsOpen && (
              <FieldsSide
                view={view}
                round={round}
                onChange={change}
                ready={gate.open && (run.count > 0 || !run.running)}
                onClose={() => setFieldsOpen(false)}
              />
            )}
            <div className={styles.answer}>
              <ResultBar run={run} view={view} onChange={change}>
                {!fieldsOpen && (
                  <Button small title="Fields (f)" onClick={() => setFieldsOpen(true)}>
                    <Icon name="list" size={14} /> Fields
                  </Button>
                )}
                <DownloadMenu queryId={run.firstId} columns={view.columns} />
              </ResultBar>
              <AnswerNotices run={run} onAgain={again} />
              <ResultList
                key={search.number}
                run={run}
                view={view}
                onChange={change}
                onMore={more}
                end={<AnswerEnd run={run} view={view} onChange={change} />}
              />
            </div>
          </div>
        </>
      )}
    </>
  )
}
