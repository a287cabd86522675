// The frame of every page: top bar, the page of the address, and the dialogs that any page may need.
import { Component, Suspense, useState, type ReactNode } from 'react'

import { asProblem } from '../../api/http'
import { PartLost } from '../../lost'
import { PAGES } from '../../pages'
import { Button } from '../../ui/Button'
import { Empty, Notice } from '../../ui/Notice'
import { useShortcuts } from '../../ui/shortcuts'
import { useAddress } from '../../view/address'
import { Link } from '../../view/Link'
import { DownloadList } from '../export/DownloadList'
import { KeyDialog } from '../key/KeyDialog'
import { HelpDialog } from './HelpDialog'
import styles from './Shell.module.css'
import { TopBar } from './TopBar'

export function Shell() {
  const { path } = useAddress()
  const [help, setHelp] = useState(false)
  useShortcuts({ '?': () => setHelp(true) })
  const found = PAGES.find((page) => page.path === path)
  return (
    <div className={styles.shell}>
      <a className={styles.skip} href="#main">
        Skip to the content
      </a>
      <TopBar onHelp={() => setHelp(true)} />
      <main id="main" tabIndex={-1} className={styles.main}>
        <Catch key={path}>
          <Suspense fallback={<Empty title="Loading …" />}>
            {found ? (
              <found.page />
            ) : (
              <Empty title="There is no such page">
                <Link href="/">Search</Link>
              </Empty>
            )}
          </Suspense>
        </Catch>
      </main>
      <DownloadList />
      <KeyDialog />
      {help && <HelpDialog onClose={() => setHelp(false)} />}
    </div>
  )
}

/** Says that a page has failed, where React would show nothing at all. */
class Catch extends Component<{ children: ReactNode }, { error: unknown }> {
  override state = { error: null as unknown }

  static getDerivedStateFromError(error: unknown) {
    return { error }
  }

  override render() {
    const { error } = this.state
    if (error === null) return this.props.children
    return (
      <Notice kind="bad">
        <p>{error instanceof PartLost ? error.message : `This page has failed: ${asProblem(error).message}.`}</p>
        <Button onClick={() => location.reload()}>Load the page again</Button>
      </Notice>
    )
  }
}
