/** The graphs that cells sent and those that lazy collections would send: tasks per layer, data inside, the start. */
import React from 'react';

import type {
  EmbeddedInfo,
  GraphInfo,
  HiddenJobs,
  LayerInfo,
  StartPart
} from '../_schema';
import { bytes, count, cut, seconds } from '../format';
import { Entry, Facts } from './entry';
import type { IPlaces } from './entry';
import { CellButton } from './text';
import { useTools } from './tools';
import type { ITools } from './tools';

const MAX_NAME = 80;

type Trans = ITools['trans'];

function startWords(kind: StartPart['kind'], trans: Trans): string {
  const words: Record<StartPart['kind'], string> = {
    metadata: trans.__('reading metadata'),
    building: trans.__('building the graph'),
    optimizing: trans.__('optimizing'),
    serializing: trans.__('serializing'),
    sending: trans.__('sending'),
    scheduling: trans.__('scheduling'),
    waiting: trans.__('waiting for a worker')
  };
  return words[kind] ?? cut(kind, MAX_NAME);
}

export function total(start: readonly StartPart[]): number {
  return start.reduce((sum, part) => sum + part.seconds, 0);
}

/** Where the time went between the cell and its first task: one stacked bar, and its parts in words. */
function Start({ start }: { start: readonly StartPart[] }): JSX.Element {
  const { trans } = useTools();
  const sum = total(start);
  return (
    <div className="jp-DaskDoctorPanel-start">
      <div className="jp-DaskDoctorPanel-memoryWords">
        <span>{trans.__('Before the first task')}</span>
        <strong>{seconds(sum)}</strong>
      </div>
      <div className="jp-DaskDoctorPanel-startBar" aria-hidden="true">
        {start.map(part => (
          <span
            key={part.kind}
            className={`jp-mod-${part.kind}`}
            style={{ flexGrow: sum > 0 ? part.seconds / sum : 0 }}
          />
        ))}
      </div>
      <ul className="jp-DaskDoctorPanel-startParts">
        {start.map(part => (
          <li key={part.kind}>
            <span>
              <span
                className={`jp-DaskDoctorPanel-key jp-mod-${part.kind}`}
                aria-hidden="true"
              />
              {startWords(part.kind, trans)}
            </span>
            <span>
              {part.seconds < 0.0005
                ? trans.__('< 1 ms')
                : seconds(part.seconds)}
            </span>
          </li>
        ))}
      </ul>
    </div>
  );
}

function Layers(props: {
  layers: readonly LayerInfo[];
  n: number;
}): JSX.Element {
  const { trans } = useTools();
  const { layers, n } = props;
  const most = Math.max(1, ...layers.map(layer => layer.n_tasks));
  return (
    <>
      <h4 className="jp-DaskDoctorPanel-subheading">
        {trans.__('Tasks per layer')}
      </h4>
      <ul className="jp-DaskDoctorPanel-layers">
        {layers.map((layer, i) => (
          <li key={i}>
            <code>{cut(layer.prefix, MAX_NAME)}</code>
            <span>{count(layer.n_tasks)}</span>
            <span className="jp-DaskDoctorPanel-gauge" aria-hidden="true">
              <span
                className="jp-mod-managed"
                style={{ width: `${(100 * layer.n_tasks) / most}%` }}
              />
            </span>
          </li>
        ))}
      </ul>
      {n > layers.length && (
        <p className="jp-DaskDoctorPanel-note">
          {trans.__('and %1 smaller', count(n - layers.length))}
        </p>
      )}
    </>
  );
}

function EmbeddedList(props: {
  embedded: readonly EmbeddedInfo[];
}): JSX.Element {
  const { trans } = useTools();
  return (
    <>
      <h4 className="jp-DaskDoctorPanel-subheading">
        {trans.__('Data inside the graph')}
      </h4>
      <ul className="jp-DaskDoctorPanel-layers">
        {props.embedded.map((each, i) => (
          <li key={i}>
            <code>{cut(each.variable ?? each.type, MAX_NAME)}</code>
            <span>{bytes(each.nbytes)}</span>
            <span className="jp-DaskDoctorPanel-muted">
              {[
                ...(each.variable === null ? [] : [cut(each.type, MAX_NAME)]),
                ...(each.n_times > 1
                  ? [trans.__('in each of %1 tasks', count(each.n_times))]
                  : [])
              ].join(' · ')}
            </span>
          </li>
        ))}
      </ul>
    </>
  );
}

/** The line that started it, else the variables that it was asked for by, else the method. */
function Title({ graph }: { graph: GraphInfo }): JSX.Element {
  const { trans } = useTools();
  if (graph.code !== null) {
    return <code>{cut(graph.code, MAX_NAME)}</code>;
  }
  if (graph.names.length > 0) {
    return <code>{cut(graph.names.join(', '), MAX_NAME)}</code>;
  }
  return graph.method === null ? (
    <>{trans.__('A computation')}</>
  ) : (
    <code>{cut(graph.method, MAX_NAME)}</code>
  );
}

function tasksWords(n: number, trans: Trans): string {
  return n === 1 ? trans.__('1 task') : trans.__('%1 tasks', count(n));
}

function lineOf(graph: GraphInfo, trans: Trans): string[] {
  const words: string[] = [];
  if (graph.method !== null && graph.code === null && graph.names.length > 0) {
    words.push(cut(graph.method, MAX_NAME));
  }
  words.push(
    graph.n_tasks === null
      ? trans.__('number of tasks unknown')
      : tasksWords(graph.n_tasks, trans)
  );
  if (graph.start.length > 0) {
    words.push(trans.__('started after %1', seconds(total(graph.start))));
  }
  if (graph.run_seconds !== null) {
    words.push(trans.__('ran %1', seconds(graph.run_seconds)));
  } else if (graph.id !== null && !graph.is_done) {
    words.push(trans.__('runs'));
  }
  return words;
}

function GraphView(props: {
  graph: GraphInfo;
  places: IPlaces;
  isOpen: boolean;
}): JSX.Element {
  const { trans } = useTools();
  const { graph, places, isOpen } = props;
  const { n_tasks: n, fused_tasks: fused } = graph;
  return (
    <Entry
      title={<Title graph={graph} />}
      facts={lineOf(graph, trans)}
      at={graph.at}
      places={places}
      isOpen={isOpen}
    >
      {() => (
        <>
          {graph.is_cyclic && (
            <p>{trans.__('The graph has a cycle: it cannot be computed.')}</p>
          )}
          {graph.start.length > 0 && <Start start={graph.start} />}
          {graph.embedded.length > 0 && (
            <EmbeddedList embedded={graph.embedded} />
          )}
          {graph.layers.length > 0 && (
            <Layers layers={graph.layers} n={graph.n_layers} />
          )}
          <Facts
            facts={[
              [
                trans.__('If its tasks were fused'),
                fused === null || n === null || fused >= n
                  ? null
                  : tasksWords(fused, trans)
              ],
              [
                trans.__('Steps upon each other'),
                graph.depth === null ? null : count(graph.depth)
              ],
              [
                trans.__('More computations of this cell'),
                graph.n_more > 0 ? count(graph.n_more) : null
              ]
            ]}
          />
        </>
      )}
    </Entry>
  );
}

function Hidden(props: {
  jobs: readonly HiddenJobs[];
  places: IPlaces;
}): JSX.Element {
  const { trans } = useTools();
  const { counts, goTo } = props.places;
  return (
    <>
      <h3 className="jp-DaskDoctorPanel-subheading">
        {trans.__('Computations that nobody asked for')}
      </h3>
      <ul className="jp-DaskDoctorPanel-list">
        {props.jobs.map((job, i) => (
          <li key={i} className="jp-DaskDoctorPanel-entry">
            <div className="jp-DaskDoctorPanel-cardTop">
              <code>
                {cut(job.code ?? job.method ?? trans.__('unknown'), MAX_NAME)}
              </code>
              <CellButton at={job.at} counts={counts} goTo={goTo} />
            </div>
            <div className="jp-DaskDoctorPanel-entryFacts">
              {[
                ...(job.method !== null && job.code !== null
                  ? [cut(job.method, MAX_NAME)]
                  : []),
                job.n === 1
                  ? trans.__('1 computation')
                  : trans.__('%1 computations', count(job.n)),
                seconds(job.seconds)
              ].join(' · ')}
            </div>
          </li>
        ))}
      </ul>
    </>
  );
}

export function GraphsView(props: {
  graphs: readonly GraphInfo[];
  hidden: readonly HiddenJobs[];
  places: IPlaces;
}): JSX.Element {
  const { trans } = useTools();
  const { graphs, hidden, places } = props;
  const computed = graphs.filter(graph => graph.id !== null);
  const lazy = graphs.filter(graph => graph.id === null);
  if (graphs.length === 0 && hidden.length === 0) {
    return (
      <p className="jp-DaskDoctorPanel-note">
        {trans.__(
          'No cell has computed anything yet, and no collection waits to be computed.'
        )}
      </p>
    );
  }
  return (
    <>
      {computed.length > 0 && (
        <>
          <h3 className="jp-DaskDoctorPanel-subheading">
            {trans.__('Computed, newest first')}
          </h3>
          <ul className="jp-DaskDoctorPanel-list">
            {computed.map(graph => (
              <GraphView
                key={graph.id}
                graph={graph}
                places={places}
                isOpen={computed.length === 1}
              />
            ))}
          </ul>
        </>
      )}
      {hidden.length > 0 && <Hidden jobs={hidden} places={places} />}
      {lazy.length > 0 && (
        <>
          <h3 className="jp-DaskDoctorPanel-subheading">
            {trans.__('Not computed yet')}
          </h3>
          <ul className="jp-DaskDoctorPanel-list">
            {lazy.map((graph, i) => (
              <GraphView
                key={graph.names[0] ?? i}
                graph={graph}
                places={places}
                isOpen={false}
              />
            ))}
          </ul>
        </>
      )}
    </>
  );
}
