/** Builders of healthy messages: a test changes one thing. */
import type {
  ClusterInfo,
  CollectionInfo,
  Edit,
  Evidence,
  Finding,
  Fix,
  GraphInfo,
  MemoryPoint,
  Reply,
  Report,
  Vitals
} from '../_schema';
import type { IState } from '../tokens';

export const GiB = 1024 ** 3;
export const MiB = 1024 ** 2;

export function point(over: Partial<MemoryPoint> = {}): MemoryPoint {
  return {
    rev: 1,
    time: 1000,
    managed: 1 * GiB,
    unmanaged: 0.5 * GiB,
    spilled: 0,
    process_min: 100 * MiB,
    process_median: 200 * MiB,
    process_max: 300 * MiB,
    threads_busy: 2,
    tasks_processing: 4,
    n_workers: 4,
    ...over
  };
}

export function vitals(over: Partial<Vitals> = {}): Vitals {
  return {
    n_workers: 4,
    nthreads: 8,
    memory_limit: 16 * GiB,
    managed: 1 * GiB,
    unmanaged: 0.5 * GiB,
    spilled: 0,
    memory_target: 0.6,
    memory_pause: 0.8,
    threads_busy: 2,
    tasks_waiting: 5,
    tasks_processing: 4,
    tasks_erred: 0,
    tasks_memory: 10,
    dashboard_link: 'http://127.0.0.1:8787/status',
    signs: [],
    ...over
  };
}

export function cluster(over: Partial<ClusterInfo> = {}): ClusterInfo {
  return {
    kind: 'LocalCluster',
    variable: 'cluster',
    address: 'tcp://127.0.0.1:1',
    shapes: [{ n: 4, nthreads: 2, memory_limit: 4 * GiB }],
    memory_target: 0.6,
    memory_spill: 0.7,
    memory_pause: 0.8,
    memory_terminate: 0.95,
    python: '3.11',
    dask: '2026.8.0',
    distributed: '2026.8.0',
    has_mixed_versions: false,
    is_adaptive: false,
    has_nanny: true,
    is_encrypted: false,
    saturation: 1.1,
    has_queuing: true,
    allowed_failures: 3,
    n_cpus: 8,
    host_memory: 32 * GiB,
    local_directory: '/tmp/dask-scratch-space/worker-1',
    disk_free: 200 * GiB,
    disk_total: 500 * GiB,
    file_system: 'ext4',
    scheduler_memory: null,
    is_in_process: true,
    rest: null,
    partition_limit: 682 * MiB,
    changes: [],
    gaps: [],
    ...over
  };
}

export function report(over: Partial<Report> = {}): Report {
  return {
    version: '0.1.0',
    time: 1000,
    findings: [],
    checks: [
      {
        rule: 'partition-skew',
        title: 'Partition skew',
        outcome: 'passed',
        reason: ''
      },
      {
        rule: 'large-graph',
        title: 'Large graph',
        outcome: 'passed',
        reason: ''
      }
    ],
    treated: [],
    notes: [],
    is_past: false,
    ...over
  };
}

export function reply(over: Partial<Reply> = {}): Reply {
  return {
    protocol: 1,
    version: '0.1.0',
    session: 's1',
    rev: 1,
    time: 1000,
    status: { kind: 'live', message: '' },
    clients: [],
    vitals: vitals(),
    cluster: null,
    memory: [point()],
    workers: [],
    collections: [],
    graphs: [],
    hidden_jobs: [],
    report: report(),
    running: null,
    left_out: [],
    ...over
  };
}

export function collection(over: Partial<CollectionInfo> = {}): CollectionInfo {
  return {
    name: 'orders',
    kind: 'dataframe',
    npartitions: 24,
    nbytes: { nbytes: 2 * GiB, known: 'estimated' },
    largest: { nbytes: 100 * MiB, known: 'exact' },
    is_persisted: true,
    is_eager: false,
    sizes: null,
    at: null,
    rows: null,
    n_rows: null,
    has_exact_rows: false,
    columns: [],
    n_columns: null,
    has_known_divisions: null,
    shape: [],
    chunks: [],
    dtype: null,
    reads: [],
    n_reads: 0,
    n_tasks: null,
    fused_tasks: null,
    held_by: [],
    wrapped_by: null,
    type: null,
    unlike: [],
    hot: null,
    gaps: [],
    ...over
  };
}

export function graph(over: Partial<GraphInfo> = {}): GraphInfo {
  return {
    id: 'k1',
    names: ['orders'],
    code: null,
    at: { cell_id: 'b', execution_count: 7, line: 2 },
    n_tasks: 4501,
    fused_tasks: 601,
    method: 'compute',
    layers: [
      { prefix: 'read_parquet', n_tasks: 3000 },
      { prefix: 'sum', n_tasks: 1500 }
    ],
    n_layers: 3,
    embedded: [],
    start: [
      { kind: 'optimizing', seconds: 1.5 },
      { kind: 'serializing', seconds: 0.5 },
      { kind: 'waiting', seconds: 2 }
    ],
    run_seconds: 12,
    is_done: true,
    depth: 3,
    is_cyclic: false,
    n_more: 0,
    ...over
  };
}

export function evidence(over: Partial<Evidence> = {}): Evidence {
  return {
    label: 'largest partition',
    value: 1.9 * GiB,
    unit: 'bytes',
    limit: 500 * MiB,
    is_estimated: false,
    ...over
  };
}

export function edit(over: Partial<Edit> = {}): Edit {
  return {
    kind: 'below',
    cell_id: 'b',
    new: 'df = df.repartition(npartitions=20)',
    old: '',
    line: 0,
    column: 0,
    end_line: 0,
    end_column: 0,
    ...over
  };
}

export function fix(over: Partial<Fix> = {}): Fix {
  return {
    title: 'Cut it smaller',
    applicability: 'safe',
    edits: [edit()],
    code: 'df = df.repartition(npartitions=20)',
    expect: 'largest partition 1.9 GiB → about 100 MiB',
    checksums: [],
    rerun: [],
    ...over
  };
}

export function finding(over: Partial<Finding> = {}): Finding {
  return {
    id: 'partition-skew:orders',
    rule: 'partition-skew',
    title: 'Skew',
    severity: 'warning',
    message: 'Partition 17 of `orders` holds 23× the median.',
    why: 'The other threads wait for it.',
    subject: 'orders',
    evidence: [evidence()],
    charts: [],
    at: { cell_id: 'b', execution_count: 7, line: null },
    fixes: [fix()],
    loss_seconds: 31,
    of_seconds: 52,
    loss_bytes: null,
    measures: [],
    details: [],
    ...over
  };
}

export function state(over: Partial<IState> = {}): IState {
  return {
    phase: 'live',
    message: '',
    notebook: 'sales.ipynb',
    counts: new Map([
      ['a', 1],
      ['b', 7]
    ]),
    isPinned: false,
    isPaused: false,
    isReadOnly: false,
    pulse: 'live',
    heard: 1_000_000,
    told: reply(),
    ignored: [],
    outcomes: new Map(),
    isServerless: false,
    ...over
  };
}
