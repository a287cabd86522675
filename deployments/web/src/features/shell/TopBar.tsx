// The bar above every page: where one is, and what holds for all pages.
import { wantKey, useKey } from '../../api/key'
import { useWhose } from '../../api/whose'
import { PAGES } from '../../pages'
import { Button, IconButton } from '../../ui/Button'
import { Icon } from '../../ui/Icon'
import { useTheme } from '../../ui/theme'
import { useAddress } from '../../view/address'
import { Link } from '../../view/Link'
import styles from './TopBar.module.css'

const THEME_ICONS = { auto: 'auto', light: 'sun', dark: 'moon' } as const

export function TopBar({ onHelp }: { onHelp: () => void }) {
  const { path, search } = useAddress()
  const { key } = useKey()
  const whose = useWhose()
  const [theme, nextTheme] = useTheme()
  return (
    <header className={styles.bar}>
      <Link className={styles.logo} href="/" aria-label="ess_ray, a new search">
        ess<span>_ray</span>
      </Link>
      <nav aria-label="Pages" className={styles.pages}>
        {PAGES.map((page) => (
          // The view goes along: what is searched for can also be followed live, and found again.
          <Link key={page.path} href={page.path + search} aria-current={page.path === path ? 'page' : undefined}>
            {page.title}
          </Link>
        ))}
      </nav>
      <div className={styles.tools}>
        <IconButton icon="help" label="Keyboard shortcuts (?)" weight="plain" onClick={onHelp} />
        <IconButton icon={THEME_ICONS[theme]} label={`Theme: ${theme}`} weight="plain" onClick={nextTheme} />
        <Button
          weight="plain"
          onClick={() => wantKey(true)}
          aria-label={key === null ? 'API key: none' : `API key: set${whose ? `, tenant ${whose.tenant}` : ''}`}
        >
          <Icon name="key" />
          {key !== null && <span className={styles.dot} />}
          {whose && <span className={styles.tenant}>{whose.tenant}</span>}
        </Button>
      </div>
    </header>
  )
}
