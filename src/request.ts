/** Ask our part of the Jupyter server, with the settings of the connection. */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { Chart, Draw, Info, Manual } from './_schema';

/** A figure as `Bokeh.embed.embed_item` takes it. */
export type FigureItem = Record<string, unknown>;

export function serverUrl(
  settings: ServerConnection.ISettings,
  ...path: string[]
): string {
  return URLExt.join(settings.baseUrl, 'dask-doctor', ...path);
}

/** Address of the websocket, with the token where the connection puts it into addresses. */
export function liveUrl(settings: ServerConnection.ISettings): string {
  const url = URLExt.join(settings.wsUrl, 'dask-doctor', 'api', 'live');
  return settings.appendToken && settings.token
    ? `${url}?token=${encodeURIComponent(settings.token)}`
    : url;
}

/**
 * A JSON answer of the server.
 *
 * @throws ServerConnection.NetworkError when it cannot be reached, ResponseError when it refuses.
 */
export async function requestAPI<T>(
  path: string[],
  settings: ServerConnection.ISettings,
  init: RequestInit = {}
): Promise<T> {
  let response: Response;
  try {
    response = await ServerConnection.makeRequest(
      serverUrl(settings, 'api', ...path),
      init,
      settings
    );
  } catch (error) {
    throw new ServerConnection.NetworkError(error as TypeError);
  }
  if (!response.ok) {
    throw await ServerConnection.ResponseError.create(response);
  }
  return (await response.json()) as T;
}

export function info(settings: ServerConnection.ISettings): Promise<Info> {
  return requestAPI<Info>(['info'], settings);
}

/** The manual page of a rule. */
export function manual(
  rule: string,
  settings: ServerConnection.ISettings
): Promise<Manual> {
  return requestAPI<Manual>(['rules', encodeURIComponent(rule)], settings);
}

export function figure(
  chart: Chart,
  dark: boolean,
  settings: ServerConnection.ISettings
): Promise<FigureItem> {
  const body: Draw = { chart, dark };
  return requestAPI<FigureItem>(['figure'], settings, {
    method: 'POST',
    body: JSON.stringify(body)
  });
}
