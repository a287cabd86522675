// The pages, each with its tab. All but the search are loaded when they are first opened.
import { lazy, type ComponentType, type LazyExoticComponent } from 'react'

import { SearchPage } from './features/search/SearchPage'
import { loadPart } from './lost'

export interface Page {
  path: string
  title: string
  page: ComponentType | LazyExoticComponent<ComponentType>
}

export const PAGES: readonly Page[] = [
  { path: '/', title: 'Search', page: SearchPage },
  { path: '/tail', title: 'Live tail', page: lazy(() => loadPart(() => import('./features/tail/TailPage'))) },
  { path: '/alerts', title: 'Alerts', page: lazy(() => loadPart(() => import('./features/alerts/AlertsPage'))) },
  { path: '/status', title: 'Status', page: lazy(() => loadPart(() => import('./features/status/StatusPage'))) },
]
