// What is needed of Standard Schema (https://standardschema.dev), so that any library of it fits. Types, mostly.

import { StreamError } from "./errors.js";

/** A schema of any library that implements Standard Schema, version 1. */
export interface Schema<Output = unknown> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => Validated<Output> | Promise<Validated<Output>>;
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

type Validated<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: ReadonlyArray<{ readonly message: string }> };

/** A schema for each name of an event. */
export type Schemas = Record<string, Schema>;

/** The types of data that schemas describe. */
export type Outputs<S extends Schemas> = {
  [K in keyof S]: NonNullable<S[K]["~standard"]["types"]>["output"];
};

/** How the data of events is read. */
export interface Reading {
  json?: boolean | undefined;
  schemas?: Schemas | undefined;
}

/** Reads the data of an event. Returns `undefined` if no schema describes it. */
export async function read(
  type: string,
  text: string,
  { schemas, json = schemas !== undefined }: Reading,
): Promise<{ data: unknown } | undefined> {
  const schema = schemas && (Object.hasOwn(schemas, type) ? schemas[type] : undefined);
  if (schemas && !schema) return undefined;
  let data: unknown = text;
  try {
    if (json) data = JSON.parse(text);
  } catch (cause) {
    throw new StreamError(
      "invalid",
      `the data of an event "${type}" is not JSON: unset the option \`json\`, or mend the publisher`,
      { cause },
    );
  }
  if (!schema) return { data };
  const result = await schema["~standard"].validate(data);
  if (!result.issues) return { data: result.value };
  const said = result.issues.map((issue) => issue.message).join("; ");
  throw new StreamError("invalid", `the data of an event "${type}" does not fit its schema: ${said}`, {
    issues: result.issues,
  });
}
