// Events as they arrive: the newest at the end, which is kept in sight until somebody scrolls up, opens a row or pauses.
import { useCallback, useEffect, useState } from 'react'

import { formatCount } from '../../ui/format'
import { Button } from '../../ui/Button'
import { Icon } from '../../ui/Icon'
import { Empty } from '../../ui/Notice'
import { useShortcuts } from '../../ui/shortcuts'
import { useView, type View } from '../../view/view'
import { ResultList } from '../results/ResultList'
import type { TailView } from './session'
import { TailBar } from './TailBar'
import styles from './TailPage.module.css'
import { TailNotices, TailState } from './TailState'
import { useTail } from './useTail'

export default function TailPage() {
  const [view, change] = useView()
  const [round, setRound] = useState(0)
  const [tail, session] = useTail(view.query, round)
  const [paused, setPaused] = useState(false)
  const [following, setFollowing] = useState(true)
  const held = paused || !following
  useEffect(() => session.hold(held), [session, held])
  useEffect(() => {
    setPaused(false)
    setFollowing(true)
  }, [session])
  const pause = useCallback(() => setPaused(true), [])
  const goOn = useCallback(() => {
    setPaused(false)
    setFollowing(true)
  }, [])
  const isOver = tail.phase === 'stopped' || tail.phase === 'failed'
  const again = () => {
    if (tail.phase === 'stopped') session.start()
    else setRound((before) => before + 1)
    goOn()
  }
  const onStop = () => (isOver ? again() : session.stop())
  const onPause = () => (held ? goOn() : setPaused(true))
  useShortcuts({
    p: onPause,
    s: onStop,
    w: () => change({ wrap: !view.wrap }),
    u: () => change({ zone: view.zone === 'utc' ? 'local' : 'utc' }),
  })
  return (
    <>
      <h1 className="quiet">Live tail</h1>
      <TailBar
        view={view}
        onChange={change}
        onAgain={() => setRound((before) => before + 1)}
        problem={tail.problem}
        held={held}
        onPause={onPause}
        isOver={isOver}
        onStop={onStop}
      />
      <TailState tail={tail} held={held} view={view} onChange={change} />
      <TailNotices tail={tail} onAgain={again} />
      <div className={styles.rows}>
        <ResultList
          run={{ rows: tail.rows, count: tail.rows.length, running: false, hasMore: false }}
          view={view}
          onChange={change}
          onMore={nothing}
          end={tail.rows.length === 0 ? <Nothing tail={tail} view={view} /> : null}
          following={{ on: !held, onChange: paused ? nothing : setFollowing, onRead: pause }}
        />
        {held && (
          <Button className={styles.newest} weight="primary" onClick={goOn}>
            <Icon name="down" /> {tail.waiting === 0 ? 'To the newest' : `${formatCount(tail.waiting)} new`}
          </Button>
        )}
      </div>
    </>
  )
}

function nothing(): void {
  // a tail has no end to scroll to, and a pause is ended by its button
}

function Nothing({ tail, view }: { tail: TailView; view: View }) {
  if (tail.phase === 'failed') return null
  if (tail.phase === 'stopped') return <Empty title="Stopped before anything came" />
  return (
    <Empty title={tail.phase === 'live' ? 'Nothing has come yet' : 'Connecting …'}>
      <p>
        Events that are pushed from now on{view.query.trim() === '' ? '' : ' and match'} appear here. What came before
        is found by a search.
      </p>
    </Empty>
  )
}
