// What this room measures, as one table: the side that keeps the numbers (operator/record) makes its registry from it. Names and
// labels are controller-runtime's and client-go's, so that dashboards and alerts written for them work; what those two do not have
// begins with `portcullis_kube_`.

/** Seconds. controller-runtime's buckets of reconcile_time_seconds. */
const RECONCILE_SECONDS = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5,
  1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60,
] as const
/** Seconds. controller-runtime's buckets of the work queue. */
const QUEUE_SECONDS = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100, 1_000] as const

const QUEUE = ['name', 'controller'] as const
const CONTROLLER = ['controller'] as const
const WATCHED = ['resource'] as const

export const KUBE_METRICS = {
  controller_runtime_reconcile_total: {
    kind: 'counter',
    labels: ['controller', 'result'],
    help: 'Reconciliations by controller and result (success, error, requeue_after).',
  },
  controller_runtime_reconcile_errors_total: {
    kind: 'counter',
    labels: CONTROLLER,
    help: 'Reconciliations that failed.',
  },
  controller_runtime_terminal_reconcile_errors_total: {
    kind: 'counter',
    labels: CONTROLLER,
    help: 'Reconciliations that failed in a way that trying again cannot mend.',
  },
  controller_runtime_reconcile_panics_total: {
    kind: 'counter',
    labels: CONTROLLER,
    help: 'Reconciliations that threw something unexpected.',
  },
  controller_runtime_reconcile_timeouts_total: {
    kind: 'counter',
    labels: CONTROLLER,
    help: 'Reconciliations that ran into their time limit.',
  },
  controller_runtime_reconcile_time_seconds: {
    kind: 'histogram',
    labels: CONTROLLER,
    buckets: RECONCILE_SECONDS,
    help: 'Seconds per reconciliation.',
  },
  controller_runtime_max_concurrent_reconciles: {
    kind: 'gauge',
    labels: CONTROLLER,
    help: 'Most reconciliations at the same time.',
  },
  controller_runtime_active_workers: {
    kind: 'gauge',
    labels: CONTROLLER,
    help: 'Reconciliations running now.',
  },
  workqueue_depth: { kind: 'gauge', labels: [...QUEUE, 'priority'], help: 'Keys waiting in the queue.' },
  workqueue_adds_total: { kind: 'counter', labels: QUEUE, help: 'Keys added to the queue.' },
  workqueue_queue_duration_seconds: {
    kind: 'histogram',
    labels: QUEUE,
    buckets: QUEUE_SECONDS,
    help: 'Seconds a key waited before it was taken.',
  },
  workqueue_work_duration_seconds: {
    kind: 'histogram',
    labels: QUEUE,
    buckets: QUEUE_SECONDS,
    help: 'Seconds of work on a key.',
  },
  workqueue_unfinished_work_seconds: {
    kind: 'gauge',
    labels: QUEUE,
    help: 'Seconds of work in progress, all workers together.',
  },
  workqueue_longest_running_processor_seconds: {
    kind: 'gauge',
    labels: QUEUE,
    help: 'Seconds the longest running work has taken so far.',
  },
  workqueue_retries_total: { kind: 'counter', labels: QUEUE, help: 'Keys added again after a failure.' },
  rest_client_requests_total: {
    kind: 'counter',
    labels: ['code', 'method', 'host'],
    help: 'Requests to the API server; code "<error>" when there was no answer.',
  },
  leader_election_master_status: {
    kind: 'gauge',
    labels: ['name'],
    help: '1 while this process holds the lease, else 0.',
  },
  portcullis_kube_leader_transitions_total: {
    kind: 'counter',
    labels: ['name', 'change'],
    help: 'Leases won, lost and released by this process.',
  },
  portcullis_kube_connections_total: {
    kind: 'counter',
    labels: [],
    help: 'TCP connections opened to the API server.',
  },
  portcullis_kube_lists_total: {
    kind: 'counter',
    labels: ['resource', 'how'],
    help: 'Complete reads of a resource, by way (list, watchlist).',
  },
  portcullis_kube_watch_ends_total: {
    kind: 'counter',
    labels: ['resource', 'why'],
    help: 'Watch streams that ended, by reason.',
  },
  portcullis_kube_watch_events_total: {
    kind: 'counter',
    labels: ['resource', 'type'],
    help: 'Watch events received.',
  },
  portcullis_kube_watching: { kind: 'gauge', labels: WATCHED, help: '1 while a watch stream is open.' },
  portcullis_kube_cached_objects: { kind: 'gauge', labels: WATCHED, help: 'Objects held in memory.' },
  portcullis_kube_handler_failures_total: {
    kind: 'counter',
    labels: WATCHED,
    help: 'Event handlers that threw.',
  },
  portcullis_kube_events_total: {
    kind: 'counter',
    labels: ['outcome'],
    help: 'Kubernetes Events by outcome (created, repeated, dropped, failed).',
  },
} as const satisfies Readonly<Record<string, MetricDeclaration>>

export interface MetricDeclaration {
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly labels: readonly string[]
  readonly help: string
  /** Upper bounds, seconds; histograms only. */
  readonly buckets?: readonly number[]
}

type Declared = typeof KUBE_METRICS
type NameOf<Kind> = { [N in keyof Declared]: Declared[N]['kind'] extends Kind ? N : never }[keyof Declared]
/** Exactly the declared labels of a metric. */
export type LabelsOf<N extends keyof Declared> = Readonly<Record<Declared[N]['labels'][number], string>>

/** Where numbers go. Never throws, never waits. */
export interface KubeMetrics {
  add<N extends NameOf<'counter'>>(name: N, labels: LabelsOf<N>, by?: number): void
  set<N extends NameOf<'gauge'>>(name: N, labels: LabelsOf<N>, value: number): void
  observe<N extends NameOf<'histogram'>>(name: N, labels: LabelsOf<N>, value: number): void
}
