// The search page: a question, its counts over time, its rows.
import { useCallback, useState } from 'react'

import { useShortcuts } from '../../ui/shortcuts'
import { useView } from '../../view/view'
import { Histogram } from '../histogram/Histogram'
import { AnswerEnd, AnswerNotices } from '../results/AnswerEnd'
import { ResultBar } from '../results/ResultBar'
import { ResultList } from '../results/ResultList'
import { useRun } from '../results/useRun'
import { SearchBar } from '../search-bar/SearchBar'
import styles from './SearchPage.module.css'

export function SearchPage() {
  const [view, change] = useView()
  const [round, setRound] = useState(0)
  const again = useCallback(() => setRound((before) => before + 1), [])
  const [run, search] = useRun(view, round)
  const cancel = () => void search.cancel()
  const more = useCallback(() => search.more(), [search])
  useShortcuts({ Escape: cancel })
  return (
    <>
      <h1 className="quiet">Search</h1>
      <SearchBar
        view={view}
        onChange={change}
        onAgain={again}
        running={run.running}
        onCancel={cancel}
        problem={run.problem}
      />
      <Histogram view={view} round={round} onChange={change} />
      {/* Beside the rows there is room for a panel; in the bar, for what else can be done with an answer. */}
      <div className={styles.below}>
        <div className={styles.answer}>
          <ResultBar run={run} view={view} onChange={change} />
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
  )
}
